"""What counting a request for metrics takes: parts of the steps and of the door, seen by themselves."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from types import SimpleNamespace
from typing import cast

from inferd.server.gateway.rpc.record import CallRecord
from inferd.server.gateway.scheduling.pending import Pending
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.scheduling.tally import Tally

_ROUND = 2000
"""Requests between two looks at the clock."""


def counting_cost(seconds: float) -> dict[str, float]:
    """Median microseconds per request, by what is counted."""
    tally, record = Tally(Statistics()), CallRecord()
    request = cast("Pending", SimpleNamespace(arrived=0.001, taken=0.002))
    return {
        "counting its time and wait (of the answer)": _cost(
            lambda: tally.timed(request, 0.004), seconds
        ),
        "counting the call (of the door)": _cost(lambda: record.answered(0.004), seconds),
    }


def _cost(count: Callable[[], None], seconds: float) -> float:
    nothing = _rounds(lambda: None, seconds / 4)
    return max(0.0, _rounds(count, seconds / 2) - nothing)


def _rounds(call: Callable[[], None], seconds: float) -> float:
    laps = []
    until = perf_counter_ns() + seconds * 1e9
    while perf_counter_ns() < until:
        began = perf_counter_ns()
        for _ in range(_ROUND):
            call()
        laps.append((perf_counter_ns() - began) / 1000 / _ROUND)
    return median(laps)
