"""What watching costs, from phases of a gateway that was switched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

STATES = ("off", "again", "on")
"""Unwatched, unwatched once more, and watched."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A fraction of a second in one state: what was answered, and seconds of CPU time.

    `gateway` and `worker` answered; `afterwards` is of threads and processes that do later what
    watching leaves for them, in whichever phase they come to it.
    """

    state: str
    requests: int
    rows: int
    batches: int
    gateway: float
    worker: float
    afterwards: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        """Two digits after the point."""
        return f"{self.mean:.2f} ± {self.error:.2f}"


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of CPU time per request: `unwatched` in all; what watching adds, by where.

    `noise` is `again` beside `off`: nothing, but for chance. `ratio` is the throughput watched ÷ unwatched of a
    server that has one core.
    """

    unwatched: float
    gateway: Estimate
    worker: Estimate
    afterwards: float
    noise: Estimate
    rows_off: float
    rows_on: float

    @property
    def added(self) -> Estimate:
        """All together."""
        error = sqrt(self.gateway.error**2 + self.worker.error**2)
        return Estimate(self.gateway.mean + self.worker.mean + self.afterwards, error)

    @property
    def ratio(self) -> Estimate:
        """Unwatched ÷ watched time per request."""
        added = self.added
        ratio = self.unwatched / (self.unwatched + added.mean)
        return Estimate(ratio, added.error * ratio / (self.unwatched + added.mean))


def costs(phases: Sequence[Phase]) -> Costs:
    """From whole rounds, each with one phase of each state. Raises `ValueError` where there is none.

    What is done afterwards is borne by the watched requests alone, all of it.
    """
    size = len(STATES)
    rounds = [
        {each.state: each for each in phases[first : first + size]}
        for first in range(0, len(phases) - size + 1, size)
    ]
    if not rounds or any(set(each) != set(STATES) for each in rounds):
        raise ValueError(f"expected rounds of {', '.join(STATES)}; got {len(phases)} phases")

    def added(of: Callable[[Phase], float]) -> Estimate:
        return _estimate([of(each["on"]) - _unwatched(each, of) for each in rounds])

    off = [each for each in phases if each.state != "on"]
    on = [each for each in phases if each.state == "on"]
    return Costs(
        unwatched=fmean([_unwatched(each, _answering) for each in rounds]),
        gateway=added(_gateway),
        worker=added(_worker),
        afterwards=_us(sum(each.afterwards for each in phases), sum(each.requests for each in on)),
        noise=_estimate([_answering(each["again"]) - _answering(each["off"]) for each in rounds]),
        rows_off=sum(each.rows for each in off) / max(1, sum(each.batches for each in off)),
        rows_on=sum(each.rows for each in on) / max(1, sum(each.batches for each in on)),
    )


def _unwatched(phases: dict[str, Phase], of: Callable[[Phase], float]) -> float:
    return (of(phases["off"]) + of(phases["again"])) / 2


def _gateway(phase: Phase) -> float:
    return _us(phase.gateway, phase.requests)


def _worker(phase: Phase) -> float:
    return _us(phase.worker, phase.requests)


def _answering(phase: Phase) -> float:
    return _us(phase.gateway + phase.worker, phase.requests)


def _us(seconds: float, requests: int) -> float:
    return seconds * 1e6 / max(1, requests)


def _estimate(values: Sequence[float]) -> Estimate:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else nan
    return Estimate(fmean(values), error)
