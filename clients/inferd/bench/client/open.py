"""An open loop: requests are sent when they are due, whatever became of earlier ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event

from inferd.bench.arrivals import Agenda
from inferd.bench.client.record import Record
from inferd.bench.client.transport import CANCELLED, Transport, TransportClosed

_SENT, _NO_MORE = True, False

_LONGEST_SLEEP = 0.1
"""Seconds after which a sender that has nothing to do looks whether it was stopped."""


class OpenLoop:
    """Sends from one thread and takes from another one per connection.

    The core waits for events without looking at the clock, hence two threads. Latency counts from
    the time in the agenda: a sender that comes late, or a server that stalls, hides nothing.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        records: Sequence[Record],
        agenda: Agenda,
        *,
        most_unanswered: int,
        stop: Event,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._transports = transports
        self._records = records
        self._agenda = agenda
        self._most_unanswered = most_unanswered
        self._stop = stop
        self._clock = clock
        self._sleep = sleep
        self._sent = 0
        self.unsent = 0
        """Arrivals that were due while `most_unanswered` requests were."""

    def run(self) -> None:
        """Send everything in the agenda until `stop`, and take all answers."""
        # One token per request sent: a taker never waits for an answer that cannot come.
        tokens = [SimpleQueue[bool]() for _ in self._transports]
        takers = [
            threading.Thread(target=self._take, args=each, name="taker")
            for each in zip(self._transports, self._records, tokens, strict=True)
        ]
        for each in takers:
            each.start()
        try:
            self._send_all(tokens)
        except TransportClosed:
            pass
        finally:
            for queue in tokens:
                queue.put(_NO_MORE)
            for each in takers:
                each.join()

    def _send_all(self, tokens: Sequence[SimpleQueue[bool]]) -> None:
        agenda, transports, clock = self._agenda, self._transports, self._clock
        turns = len(transports)
        while not self._stop.is_set():
            due = agenda.due(clock())
            if due is None:
                pause = agenda.wait(clock())
                if pause is None:
                    return
                self._sleep(min(pause, _LONGEST_SLEEP))
                continue
            if self._sent - self._ended() >= self._most_unanswered:
                self.unsent += 1
                continue
            at = self._sent % turns
            transports[at].send(due)
            self._sent += 1
            tokens[at].put(_SENT)

    def _take(self, transport: Transport, record: Record, tokens: SimpleQueue[bool]) -> None:
        clock, stop = self._clock, self._stop
        while tokens.get():
            answer = transport.take()
            now = clock()
            if answer.code == CANCELLED and stop.is_set():
                record.cut_off(answer.tag, now)
            else:
                record.add(answer.tag, now, answer.code, answer.text)

    def _ended(self) -> int:
        return sum(len(record) for record in self._records)
