"""The thread that turns what was noted into spans and exports them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from queue import Empty, SimpleQueue
from time import monotonic_ns, time_ns
from typing import Literal

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.server.gateway.tracing.spans import SpanMaker

MOST_WAITING = 4096
"""Requests and batches that wait for the thread; those beyond are dropped, and counted."""

PERIOD = 0.5
"""Seconds that the first waits for company."""

_AT_ONCE = 64
"""Requests and batches exported together, some six spans each."""

_LAST = 3.0
"""Seconds for what is left when the gateway ends; its collector may be gone."""

_log = get_logger(__name__)

Over = Observation | ObservedBatch


class SpanWriter:
    """Takes what is over and exports its spans, none of it on the caller's thread."""

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Resource,
        *,
        most_waiting: int = MOST_WAITING,
        period: float = PERIOD,
    ) -> None:
        """`exporter` sends spans in the name of `resource`; `period` is in seconds."""
        self.dropped = 0
        """Requests and batches that were one too many."""
        self._exporter = exporter
        self._maker = SpanMaker(resource)
        self._most_waiting = most_waiting
        self._period = period
        self._waiting: SimpleQueue[Over | None] = SimpleQueue()
        self._closed = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def put(self, over: Over) -> None:
        """Take one, or drop it where too many wait. Safe from any thread; never blocks."""
        if self._waiting.qsize() >= self._most_waiting:
            self.dropped += 1
        else:
            self._waiting.put(over)

    def close(self) -> None:
        """Export what is left, if that can be done within a few seconds."""
        self._closed.set()
        self._waiting.put(None)
        self._thread.join(_LAST)
        self._exporter.shutdown()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            if self._waiting.qsize() < _AT_ONCE:
                self._closed.wait(self._period)
            try:
                self._export(first)
            except Exception as error:  # the last resort: later ones may be exported
                _log.error("spans are lost", exc_info=error)

    def _export(self, first: Over) -> None:
        offset = _wall_ahead()
        spans = self._maker.make(first, offset)
        for _ in range(_AT_ONCE - 1):
            try:
                over = self._waiting.get_nowait()
            except Empty:
                break
            if over is None:
                self._waiting.put(None)  # for the loop to see
                break
            spans += self._maker.make(over, offset)
        self._exporter.export(spans)
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
    return SpanWriter(_EXPORTERS[kind](), _resource())


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


def _otlp() -> SpanExporter:
    # An extra of its own, and of no use without a collector.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()


def _console() -> SpanExporter:
    # One line each, where the logs go.
    return ConsoleSpanExporter(
        out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n"
    )


_EXPORTERS: dict[str, Callable[[], SpanExporter]] = {"otlp": _otlp, "console": _console}
