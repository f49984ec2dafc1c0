"""Exact counts and times of one model version, as ModelStatistics reports them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from inferd.core.telemetry.metrics import SECONDS
from inferd.wire.errors import Cancelled, ServingError

MOST_RESPONSES = 64
"""Indices of answers that are counted apart: whatever a model yields, its counts stay small."""


def _buckets() -> list[int]:
    return [0] * (len(SECONDS) + 1)


@dataclass(slots=True)
class Duration:
    """How often, and for how many nanoseconds in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Count `count` more events that lasted `ns` nanoseconds together."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """The executions of one batch size: times per execution."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class ResponseStatistics:
    """The answers of one index to requests of a model that yields: times per answer."""

    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    empty_response: Duration = field(default_factory=Duration)
    cancel: Duration = field(default_factory=Duration)

    def succeeded(self, infer_ns: int, output_ns: int) -> None:
        """Count an answer."""
        self.compute_infer.add(infer_ns)
        self.compute_output.add(output_ns)
        self.success.add(infer_ns + output_ns)

    def empty(self, infer_ns: int) -> None:
        """Count a generator that ended in the place of this answer."""
        self.compute_infer.add(infer_ns)
        self.empty_response.add(infer_ns)


@dataclass(slots=True)
class Statistics:
    """Counts that only grow, over every deployment of a model version.

    `inference_count` counts rows, `execution_count` batches. Durations count requests: each
    request bears the whole time of the batches it was part of, as Triton counts it.
    `last_inference` is in milliseconds since the epoch. Buckets count answered requests by time, up
    to each of `metrics.SECONDS` and longer.
    """

    inference_count: int = 0
    execution_count: int = 0
    last_inference: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    cancelled: int = 0
    """Requests whose callers left before the answer."""
    errors: dict[str, int] = field(default_factory=dict)
    """Requests that got an error, by its reason."""
    received: int = 0
    """Bytes of input that were executed."""
    sent: int = 0
    """Bytes of output that came of it."""
    total_buckets: list[int] = field(default_factory=_buckets)
    queue_buckets: list[int] = field(default_factory=_buckets)
    input_buckets: list[int] = field(default_factory=_buckets)
    infer_buckets: list[int] = field(default_factory=_buckets)
    output_buckets: list[int] = field(default_factory=_buckets)
    exemplar: tuple[int, float, float] | None = None
    """The last traced request that was answered: trace id, seconds it took, when, since the epoch."""
    responses: list[ResponseStatistics] = field(default_factory=list)

    def executed(self, rows: int, durations: tuple[int, int, int], epoch_ms: int) -> None:
        """Count one execution of `rows` rows; nanoseconds of input, inference and output."""
        self.inference_count += rows
        self.execution_count += 1
        self.last_inference = epoch_ms
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.compute_input.add(durations[0])
        batch.compute_infer.add(durations[1])
        batch.compute_output.add(durations[2])

    def succeeded(
        self, requests: int, total_ns: int, queue_ns: int, durations: tuple[int, int, int]
    ) -> None:
        """Count answered requests; all times are sums over them."""
        self.success.add(total_ns, requests)
        self.queue.add(queue_ns, requests)
        self.compute_input.add(durations[0], requests)
        self.compute_infer.add(durations[1], requests)
        self.compute_output.add(durations[2], requests)

    def computed(self, requests: int, durations: tuple[int, int, int]) -> None:
        """Sort answered requests into buckets by the nanoseconds of input, inference, output."""
        self.input_buckets[bisect_left(SECONDS, durations[0] / 1e9)] += requests
        self.infer_buckets[bisect_left(SECONDS, durations[1] / 1e9)] += requests
        self.output_buckets[bisect_left(SECONDS, durations[2] / 1e9)] += requests

    def response(self, index: int) -> ResponseStatistics:
        """What is counted of the answers of this index, those beyond `MOST_RESPONSES` together."""
        index = min(index, MOST_RESPONSES - 1)
        while len(self.responses) <= index:
            self.responses.append(ResponseStatistics())
        return self.responses[index]

    def left(self, seconds: float, why: ServingError) -> None:
        """Count one request that ended, after so long, because its caller was no longer there."""
        if isinstance(why, Cancelled):
            self.cancelled += 1
        else:
            self.failed(int(seconds * 1e9), why.reason)

    def failed(self, ns: int, reason: str) -> None:
        """Count one request that got an error with this reason."""
        self.fail.add(ns)
        self.errors[reason] = self.errors.get(reason, 0) + 1
