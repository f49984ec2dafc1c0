"""What this gateway has counted, as the supervisor gets to know it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

import msgspec

from inferd.core.link.messages import (
    BatchCounts,
    CountsReport,
    Exemplar,
    ResponseCounts,
    Sorted,
    Spent,
    VersionCounts,
)
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry.counts import Counts
from inferd.core.telemetry.lag import Lag
from inferd.server.gateway.scheduling.statistics import (
    BatchStatistics,
    Duration,
    ResponseStatistics,
    Statistics,
)

PERIOD = 1.0
"""Seconds between reports that nobody asked for: as much is lost when this process is killed."""

Read = Callable[[Callable[[Mapping[tuple[str, int], Statistics]], None]], None]
"""Lets a function look at all counts while they stand still."""


class CountsReporter:
    """Tells the supervisor what has changed since it was told last. Safe from any thread."""

    def __init__(self, read: Read, send: Callable[[CountsReport], None]) -> None:
        self.lag = Lag()
        self._read = read
        self._send = send
        self._lock = threading.Lock()  # a report overtaken by a later one would turn counts back
        self._told: dict[tuple[str, int], VersionCounts] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counts", daemon=True)

    def start(self) -> None:
        """Report from time to time."""
        self._thread.start()

    def close(self) -> None:
        """Report a last time."""
        self._closed.set()
        self._thread.join()
        self.report()

    def report(self) -> None:
        """Send what has changed, if anything has; lost with the supervisor, as this process is."""
        with self._lock, suppress(PeerGone):
            news = Counts()
            self._read(lambda statistics: news.update(self._changes(statistics)))
            for part in news.parts():
                self._send(CountsReport(part))

    def _run(self) -> None:
        while True:
            due = monotonic() + PERIOD
            if self._closed.wait(PERIOD):
                return
            self.lag.note(monotonic() - due)
            self.report()

    def _changes(self, statistics: Mapping[tuple[str, int], Statistics]) -> list[VersionCounts]:
        """The versions that have counted since the last report, and of them what has changed."""
        changes = []
        for key, found in list(statistics.items()):
            told = self._told.get(key)
            # Everything that is counted ends as an execution, as a failure or without its caller,
            # except for answers of generators that are still to end.
            if told is not None and (
                told.execution_count,
                told.fail.count,
                told.cancelled,
                told.responses,
            ) == (
                found.execution_count,
                found.fail.count,
                found.cancelled,
                _responses(found),
            ):
                continue
            counts = self._told[key] = counts_of(*key, found)
            known = told.batches if told is not None else {}
            batches = {
                size: batch for size, batch in counts.batches.items() if known.get(size) != batch
            }
            changes.append(msgspec.structs.replace(counts, batches=batches))
        return changes


def counts_of(model: str, version: int, statistics: Statistics) -> VersionCounts:
    """The counts of a version as they are told to others."""
    return VersionCounts(
        model,
        version,
        statistics.inference_count,
        statistics.execution_count,
        statistics.last_inference,
        _spent(statistics.success),
        _spent(statistics.fail),
        _spent(statistics.queue),
        _spent(statistics.compute_input),
        _spent(statistics.compute_infer),
        _spent(statistics.compute_output),
        {size: _batch(batch) for size, batch in statistics.batches.items()},
        statistics.cancelled,
        dict(statistics.errors),
        statistics.received,
        statistics.sent,
        Sorted(
            tuple(statistics.total_buckets),
            tuple(statistics.queue_buckets),
            tuple(statistics.input_buckets),
            tuple(statistics.infer_buckets),
            tuple(statistics.output_buckets),
        ),
        _exemplar(statistics),
        _responses(statistics),
    )


def _exemplar(statistics: Statistics) -> Exemplar | None:
    if statistics.exemplar is None:
        return None
    trace_id, seconds, epoch = statistics.exemplar
    return Exemplar(f"{trace_id:032x}", seconds, epoch)


def _responses(statistics: Statistics) -> tuple[ResponseCounts, ...]:
    return tuple([_response(each) for each in statistics.responses])


def _response(response: ResponseStatistics) -> ResponseCounts:
    return ResponseCounts(
        _spent(response.compute_infer),
        _spent(response.compute_output),
        _spent(response.success),
        _spent(response.fail),
        _spent(response.empty_response),
        _spent(response.cancel),
    )


def _batch(batch: BatchStatistics) -> BatchCounts:
    return BatchCounts(
        _spent(batch.compute_input), _spent(batch.compute_infer), _spent(batch.compute_output)
    )


def _spent(duration: Duration) -> Spent:
    return Spent(duration.count, duration.ns)
