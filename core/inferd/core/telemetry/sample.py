"""Counters of a server at one moment, and what a later moment tells beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from inferd.core.telemetry.status import Totals

Key = tuple[str, int]
"""A model's name and version."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What only grows: totals by version, CPU seconds by process id, joules by a GPU's uuid.

    `at` is in seconds on a clock that never goes back; `read_at` is when processes and GPUs were read,
    which may be a little earlier, and None if they were not.
    """

    at: float
    totals: Mapping[Key, Totals] = field(default_factory=dict)
    cpu: Mapping[int, float] = field(default_factory=dict)
    joules: Mapping[str, float] = field(default_factory=dict)
    read_at: float | None = None


def cpu_of(pids: Collection[int], earlier: Sample, later: Sample) -> float | None:
    """CPU seconds per second of these processes together; None where nothing is known of any.

    A process that the earlier sample has not began since: all that it used counts.
    """
    seconds = _between(earlier, later)
    known = [pid for pid in pids if pid in later.cpu]
    if seconds <= 0 or not known:
        return None
    return sum(max(0.0, later.cpu[pid] - earlier.cpu.get(pid, 0.0)) for pid in known) / seconds


def watts_of(uuid: str, earlier: Sample, later: Sample) -> float | None:
    """Mean power of a GPU between two samples; None where its energy is not measured."""
    seconds = _between(earlier, later)
    if seconds <= 0 or uuid not in later.joules or uuid not in earlier.joules:
        return None
    return (later.joules[uuid] - earlier.joules[uuid]) / seconds


def _between(earlier: Sample, later: Sample) -> float:
    """Seconds between two readings; 0 where there were not two."""
    if earlier.read_at is None or later.read_at is None:
        return 0.0
    return later.read_at - earlier.read_at
