"""What is counted of the calls of one method."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, field

from inferd.core.link.messages import MethodCounts, Spent
from inferd.core.telemetry.metrics import SECONDS
from inferd.server.gateway.scheduling.waiting.leaving import leaving
from inferd.wire.status import code_of


@dataclass(slots=True)
class _Ended:
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))


class CallRecord:
    """Counts the calls that have ended, by status code. Safe from any thread.

    A cell of a list is read and written in two steps, and calls end on several threads: hence the
    lock. `benchmarks/cost.py` has what it takes per call: about a microsecond.
    """

    __slots__ = ("_codes", "_lock", "_ok")

    def __init__(self) -> None:
        self._ok = _Ended()
        self._codes = {"OK": self._ok}
        self._lock = threading.Lock()

    def answered(self, seconds: float) -> None:
        """A call has ended well."""
        ended = self._ok
        with self._lock:
            ended.seconds += seconds
            ended.buckets[bisect_left(SECONDS, seconds)] += 1

    def failed(self, seconds: float, code: str) -> None:
        """A call has ended with this status code of gRPC's, such as `UNAVAILABLE`."""
        with self._lock:
            ended = self._codes.setdefault(code, _Ended())
            ended.seconds += seconds
            ended.buckets[bisect_left(SECONDS, seconds)] += 1

    def left(self, seconds: float, deadline: float, now: float) -> None:
        """A call has ended because its caller went away, or its deadline passed."""
        self.failed(seconds, code_of(leaving(deadline, now)).name)

    def counts(self, method: str) -> list[MethodCounts]:
        """What was counted, of every code that came up."""
        with self._lock:
            return [
                MethodCounts(
                    method,
                    code,
                    Spent(sum(each.buckets), int(each.seconds * 1e9)),
                    tuple(each.buckets),
                )
                for code, each in self._codes.items()
                if any(each.buckets)
            ]
