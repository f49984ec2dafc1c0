"""One ordered load, from its begin to its samples on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from inferd.bench.arrivals import Agenda, schedule
from inferd.bench.client.closed import run_closed
from inferd.bench.client.open import OpenLoop
from inferd.bench.client.record import Record
from inferd.bench.client.transport import Transport
from inferd.bench.orders import Done, Load, Progress
from inferd.bench.samples import Samples

_REPORTED_EVERY = 0.5
_MOST_UNANSWERED = 100_000
_MOST_UNANSWERED_BYTES = 1 << 30


class Work:
    """Makes the load on all transports at once; `stop` may be called from another thread."""

    def __init__(
        self,
        order: Load,
        transports: Sequence[Transport],
        payload_bytes: int,
        tell: Callable[[Progress], None],
    ) -> None:
        self._order = order
        self._transports = transports
        self._tell = tell
        self._records = [Record() for _ in transports]
        self._stop = threading.Event()
        self._over = threading.Event()
        self._most_unanswered = min(
            _MOST_UNANSWERED, max(1, _MOST_UNANSWERED_BYTES // max(1, payload_bytes))
        )
        self._unsent = 0
        self._agenda: Agenda | None = None
        self._cores = 0.0
        self._ended = order.end

    def run(self) -> Done:
        """Make the load and save its samples."""
        order = self._order
        agenda = self._agenda = self._arrivals() if order.rate else None
        for transport in self._transports:
            transport.start(order.timeout, order.end)
        watch = threading.Thread(target=self._watch, name="watch")
        watch.start()
        try:
            _sleep_until(order.begin)
            if agenda is None:
                self._closed()
            else:
                self._open(agenda)
            self._ended = min(time.monotonic(), order.end)
            if not self._stop.is_set():
                for transport in self._transports:
                    transport.finish()
        finally:
            self._over.set()
            watch.join()
        self._save()
        texts = {code: text for each in self._records for code, text in each.texts.items()}
        return Done(self._cores, self._unsent, self._ended, texts)

    def stop(self) -> None:
        """Send nothing more and give up what is unanswered: `run` returns soon."""
        self._stop.set()
        for transport in self._transports:
            transport.cancel()

    def _arrivals(self) -> Agenda:
        order = self._order
        times = schedule(
            order.arrivals,
            order.rate,
            order.end - order.begin,
            seed=order.seed,
            part=order.part,
            parts=order.parts,
        )
        return Agenda((times + order.begin).tolist())

    def _closed(self) -> None:
        """A thread per connection, as the core waits on one at a time."""
        count = len(self._transports)
        callers = [len(range(at, self._order.callers, count)) for at in range(count)]
        threads = [
            threading.Thread(target=self._close_loop, args=each, name="caller")
            for each in zip(self._transports, self._records, callers, strict=True)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _close_loop(self, transport: Transport, record: Record, callers: int) -> None:
        run_closed(
            transport,
            record,
            callers=callers,
            end=self._order.end,
            stop=self._stop,
            clock=time.monotonic,
        )

    def _open(self, agenda: Agenda) -> None:
        loop = OpenLoop(
            self._transports,
            self._records,
            agenda,
            most_unanswered=self._most_unanswered,
            stop=self._stop,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        loop.run()
        self._unsent = loop.unsent

    def _watch(self) -> None:
        """Tell how far the load is, and measure this process's CPU time in the window."""
        order, over = self._order, self._over
        over.wait(max(0.0, order.measure - time.monotonic()))
        begin, used = time.monotonic(), time.process_time()
        while not over.is_set() and (left := order.end - time.monotonic()) > 0:
            over.wait(min(_REPORTED_EVERY, left))
            answered = sum(record.answered for record in self._records)
            self._tell(Progress(answered, sum(record.failed for record in self._records)))
        seconds = time.monotonic() - begin
        self._cores = (time.process_time() - used) / seconds if seconds > 0 else 0.0

    def _save(self) -> None:
        parts = [record.samples() for record in self._records]
        if self._agenda is not None:
            parts.append(Record().samples(self._agenda.handed_out(), self._agenda.late))
        Samples.together(parts).save(Path(self._order.file))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
