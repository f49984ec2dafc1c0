"""What is noted of single requests: of those that are traced, and those to be billed.

Nobody else pays for it: a lane knows which of its requests are observed, and a batch of a lane
without any is not looked at.
"""

from __future__ import annotations

from random import getrandbits
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple

from inferd.wire.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
    from inferd.server.gateway.scheduling.lane import Lane
    from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
    from inferd.server.gateway.scheduling.pending import Pending
    from inferd.server.gateway.scheduling.statistics import Statistics

MOST_BATCHES = 64
"""Batches noted of one request that was split; those beyond are counted."""

MOST_ANSWERS = 128
"""Moments noted of the answers to one request; those beyond are counted."""

Durations = tuple[int, int, int]
"""Nanoseconds of copying in, computing and copying out, or when each of them began."""


def new_id(bits: int) -> int:
    """The id of a trace (128 bits) or of a span (64)."""
    return getrandbits(bits) or 1  # W3C Trace Context: zero is none


class Trace(NamedTuple):
    """The server span of a request that is traced. `parent` is the caller's context, if it sent one.

    `put` takes the request, and batches that it is the first of, when they are over: nobody changes
    them any more. It never blocks.
    """

    trace_id: int
    span_id: int
    parent: Any
    put: Callable[[Observation | ObservedBatch], None]


class Observation:
    """One observed request, from its arrival to its end. Times are monotonic seconds, 0.0 for never.

    It is over once, whichever thread ends it.
    """

    __slots__ = (
        "_lane",
        "_open",
        "_pending",
        "_statistics",
        "answer_times",
        "answers",
        "batch_count",
        "batches",
        "began",
        "billed",
        "ended",
        "entered",
        "error",
        "method",
        "model",
        "request_id",
        "rows",
        "taken",
        "trace",
        "version",
    )

    def __init__(
        self, method: str, began: float, trace: Trace | None = None, *, billed: bool = False
    ) -> None:
        """`method` is a gRPC path, or an HTTP method and route; `billed`: its caller wants the bill."""
        self.method = method
        self.began = began
        self.trace = trace
        self.billed = billed
        self.model = self.version = self.request_id = ""
        self.entered = self.taken = self.ended = 0.0
        self.rows = 0
        self.batches: list[ObservedBatch] = []
        self.batch_count = 0
        self.answers = 0
        self.answer_times: list[float] = []
        self.error: ServingError | None = None
        self._lane: Lane | None = None
        self._pending: Pending | None = None
        self._statistics: Statistics | None = None
        self._open = [True]  # taken out by whoever ends it: `pop` is atomic

    def read(self, model: str, version: str, request_id: str) -> None:
        """What the request asks for, known once it is parsed."""
        self.model, self.version, self.request_id = model, version, request_id

    def enter(self, pending: Pending, info: DeploymentInfo, statistics: Statistics) -> None:
        """It is admitted and about to be queued, here and not where it may have been before."""
        self.leave()
        self.model, self.version = info.model, str(info.version)
        self.rows = pending.rows
        self._pending, self._lane, self._statistics = pending, pending.lane, statistics
        pending.lane.observed[pending] = self
        self.entered = monotonic()

    def leave(self) -> None:
        """Batches are no longer looked through for it."""
        if self._lane is not None and self._pending is not None:
            self._lane.observed.pop(self._pending, None)

    def answered(self) -> None:
        """One of many answers has left."""
        self.answers += 1
        if len(self.answer_times) < MOST_ANSWERS:
            self.answer_times.append(monotonic())

    def end(self, error: ServingError | None = None) -> None:
        """It is over: answered, or failed with this error."""
        try:
            self._open.pop()
        except IndexError:
            return
        self.ended = monotonic()
        self.error = error
        self.leave()
        if self._pending is not None:
            self.taken = self._pending.taken
            self._pending = None  # it holds tensors
        if self.trace is None:
            return
        if error is None and self._statistics is not None:
            taken = self.ended - self.began
            self._statistics.exemplar = (self.trace.trace_id, taken, time())
        self.trace.put(self)

    def bill(self) -> Bill | None:
        """What it took, when all of it has been executed; None if nothing was."""
        pending = self._pending
        last = self.batches[-1] if self.batches else None
        if pending is None or last is None:
            return None
        durations = pending.durations if any(pending.durations) else last.durations
        largest = max(each.rows_at_once for each in self.batches)
        return Bill(
            int((pending.taken - pending.arrived) * 1e6),
            durations[0] // 1000,
            durations[1] // 1000,
            durations[2] // 1000,
            largest,
            last.instance,
            last.device,
        )


class Bill(NamedTuple):
    """What one request took, in microseconds, and where it was executed."""

    queue_us: int
    input_us: int
    compute_us: int
    output_us: int
    batch_size: int
    instance: int
    device: str
