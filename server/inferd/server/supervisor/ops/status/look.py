"""Looks at the server: now and then for the window, and when somebody asks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

from inferd.core.clock import Clock, SystemClock
from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry.logs import get_logger
from inferd.core.telemetry.sample import Key, Sample
from inferd.core.telemetry.status import Addresses, ServerStatus, Status, Totals
from inferd.server.supervisor.ops.observation import Observer
from inferd.server.supervisor.ops.outcomes import SERVERS_OWN, outcomes_of
from inferd.server.supervisor.ops.status.report import Report
from inferd.server.supervisor.ops.status.tally import Tally
from inferd.server.supervisor.ops.status.window import PERIOD, Window
from inferd.server.supervisor.resources.resources import Reading

_log = get_logger(__name__)


class Look:
    """Makes the status document. For samples in between, no gateway is asked anything."""

    def __init__(
        self,
        observer: Observer,
        tally: Tally,
        *,
        not_ready: Callable[[], str],
        ops: str,
        clock: Clock | None = None,
    ) -> None:
        """`not_ready` says why no requests are taken, `ops` is where this is asked, HOST:PORT."""
        self._observer = observer
        self._tally = tally
        self._not_ready = not_ready
        self._ops = ops
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._started = time.time()
        # The only process that there is so far; all that others use, they use from now on.
        own = {os.getpid(): time.process_time()}
        self._window = Window(Sample(self._began, cpu=own, read_at=self._began))

    async def watch_loop(self) -> None:
        """Note a sample every now and then, for as long as it runs."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                reading = await self._observer.reading()
                self._window.note(self._sample(self._observer.reported(), reading))
            except Exception:  # whatever it was: the window gets longer, and is told as it is
                _log.exception("no sample for the status")

    async def status(self) -> Status:
        """The document, as of now; takes a second or so at most, whoever hangs."""
        seen = await self._observer.observe()
        now = self._sample(seen.counts, seen.reading)
        report = Report(seen, self._tally, self._window.before(now.at), now, self._began)
        reason = self._not_ready()
        return report.status(
            ServerStatus(
                version=version("inferd"),
                started=self._started,
                uptime=now.at - self._began,
                ready=not reason,
                reason=reason,
                addresses=Addresses(**self._observer.addresses(), ops=self._ops),
                supervisor=report.use_of(os.getpid()),
                lag_seconds=seen.lag,
                unmatched=sum(each.requests for (name, _), each in now.totals.items() if not name),
            )
        )

    def _sample(self, counts: Iterable[VersionCounts], reading: Reading) -> Sample:
        return Sample(
            self._clock.monotonic(),
            dict(map(totals_of, counts)),
            {pid: each.cpu_seconds for pid, each in reading.processes.items()},
            {
                each.uuid: each.energy_joules
                for each in reading.gpus
                if each.energy_joules is not None
            },
            # This process is among them, unless nothing could be read in time.
            reading.at if reading.processes else None,
        )


def totals_of(counts: VersionCounts) -> tuple[Key, Totals]:
    """What the status tells of a version's counts."""
    outcomes = outcomes_of(counts)
    return (counts.model, counts.version), Totals(
        answered=outcomes["ok"],
        errors=sum(outcomes[each] for each in SERVERS_OWN),
        invalid=outcomes["invalid"],
        cancelled=outcomes["cancelled"],
        rows=counts.inference_count,
        batches=counts.execution_count,
        seconds=counts.success.ns / 1e9,
        buckets=counts.buckets.total,
    )
