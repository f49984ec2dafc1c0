"""What a contender is to the comparison: it takes turns under a scenario, and each gives a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from load import H2load
from scenarios import Scenario


class ContenderError(RuntimeError):
    """A contender cannot be measured: not installed, not started, gone. The text says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender. CPU time and memory are those of its whole process tree.

    `peak_rss_mb` adds up the most that each process ever had resident, shared pages counted in
    each; `pss_mb` is the tree's proportional share right after the round. `load_busy` is the share
    of its core that the load generator used; None where there is none. What is told by role is of
    contenders whose processes have one: the CPU time of all that have it, the memory of the largest.
    """

    requests: int
    requests_per_second: float
    rows_per_second: float
    p50_us: float
    p99_us: float
    server_cpu_us: float  # per request
    peak_rss_mb: float
    pss_mb: float
    load_busy: float | None
    role_cpu_us: Mapping[str, float] = field(default_factory=dict)  # per request
    role_peak_rss_mb: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for all contenders. `seconds` is about how long one sample takes.

    `warm` replaces the seconds of load that a contender asks for before its first round, where it
    asks for any. Cores are None where the system places processes.
    """

    load: H2load
    seconds: float
    warm: float | None
    server_cpu: int | None
    load_cpu: int | None


class Turn(Protocol):
    """One contender under one scenario, from its start to its end. Between samples it is idle."""

    name: str

    def prepare(self) -> None:
        """Start, check an answer, warm up, go idle. Raises `ContenderError` and the like."""

    def sample(self) -> Sample:
        """Measure once and go idle again. Raises `ContenderError` and the like."""

    def close(self) -> None:
        """End every process. Closing twice does nothing."""


class Contender(Protocol):
    """Who is measured. A peer becomes one by its folder in `peers/`."""

    name: str
    title: str
    summary: str
    settings: str
    scenarios: tuple[str, ...]

    def missing(self) -> str | None:
        """Why it cannot be measured here; None if it can."""

    def version(self) -> str:
        """Of its main package."""

    def turns(self, scenario: Scenario, conditions: Conditions) -> Sequence[Turn]:
        """Its turns under one of its scenarios; most have one."""


def percentile(ascending: Sequence[int], percent: int) -> float:
    """That percentile of at least one value."""
    return float(ascending[min(len(ascending) - 1, len(ascending) * percent // 100)])
