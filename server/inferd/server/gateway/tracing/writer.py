"""What turns what was noted into spans and exports them, on a thread of its own."""

from __future__ import annotations

import os
from importlib.metadata import version
from time import monotonic_ns, time_ns
from typing import Literal

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from inferd.core.telemetry.logs import get_logger
from inferd.core.telemetry.writer_thread import WriterThread
from inferd.server.gateway.tracing.exporters import Exporter, open_exporter
from inferd.server.gateway.tracing.spans import Over, SpanMaker

MOST_WAITING = 4096
"""Requests and batches that wait for the thread; those beyond are dropped, and counted."""

PERIOD = 1.0
"""Seconds that the first waits for company."""

AT_ONCE = 256
"""Requests and batches exported together, some five spans each: of a request alone in its batch, eight and one.

To send 128 of them takes 0.2 to 0.4 ms, besides putting them together, which takes four times that."""

_LAST = 3.0
"""Seconds for what is left when the gateway ends; its collector may be gone."""

_log = get_logger(__name__)


class SpanWriter:
    """Takes what is over and exports its spans, none of it on the caller's thread."""

    def __init__(
        self,
        exporter: Exporter,
        resource: Resource,
        *,
        most_waiting: int = MOST_WAITING,
        period: float = PERIOD,
    ) -> None:
        """`exporter` sends spans in the name of `resource`; `period` is in seconds."""
        self._exporter = exporter
        self._maker = SpanMaker(resource)
        self._told = False
        self._thread = WriterThread(
            "traces", self._export, most_waiting=most_waiting, at_once=AT_ONCE, period=period
        )
        self.put = self._thread.put
        """Take one, or drop it where too many wait. Safe from any thread; never blocks."""

    @property
    def dropped(self) -> int:
        """Requests and batches that were one too many."""
        return self._thread.dropped

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def close(self) -> None:
        """Export what is left, if that can be done within a few seconds."""
        self._thread.close(_LAST)
        self._exporter.shutdown()

    def _export(self, over: list[Over]) -> None:
        self._exporter.export(self._maker.make(over, _wall_ahead()))
        if self.dropped and not self._told:
            self._told = True
            _log.warning(
                "traces are dropped: they come quicker than they are exported; "
                "lower trace_sampling, or give the collector more room",
                dropped=self.dropped,
            )


def _wall_ahead() -> int:
    """Nanoseconds that the wall clock is ahead of the monotonic one; seen anew, for it may be set."""
    best, offset = -1, 0
    for _ in range(3):  # this thread may be put to sleep between two looks
        before, wall, after = monotonic_ns(), time_ns(), monotonic_ns()
        if best < 0 or after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


def open_writer(kind: Literal["otlp", "console"]) -> SpanWriter:
    """The writer of this kind, as OTEL_* variables say where to and in whose name."""
    return SpanWriter(open_exporter(kind), _resource())


def _resource() -> Resource:
    ours = Resource.create(
        {
            "service.name": "inferd",
            "service.version": version("inferd"),
            "process.pid": os.getpid(),
        }
    )
    # What the operator says in variables comes last: it replaces ours.
    return ours.merge(OTELResourceDetector().detect())
