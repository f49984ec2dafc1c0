"""What processes use of the CPU and of the host's memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from inferd.core.clock import Clock, SystemClock

PROPORTIONAL_EVERY = 15.0
"""Seconds for which a PSS is good, of a process that keeps its size. The kernel walks all pages for it, 2 to 6 ms for a small worker
with torch, where everything else takes a fifth of one; and the process cannot map memory meanwhile."""

PROPORTIONAL_CHANGE = 0.1
"""Part of its resident memory by which a process may grow or shrink before its PSS is read anew: one that
loads a model takes far more than it did a second ago."""

PROPORTIONAL_BUDGET = 0.02
"""Seconds of one reading that go into PSS; processes left over come first in the next one."""


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process at one moment: CPU time since its start, memory in bytes.

    `proportional_bytes` (PSS) counts shared pages by the share of those who share them; it may be
    some seconds old, and None before it was first read or where it cannot be.
    """

    pid: int
    cpu_seconds: float
    resident_bytes: int
    proportional_bytes: int | None
    threads: int
    open_files: int


class Processes:
    """Reads processes of this user by their ids, and remembers what is dear to read."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._proportional: dict[tuple[int, float], _Proportional] = {}

    def read(self, pids: Iterable[int]) -> dict[int, ProcessReading]:
        """What each of them uses; one that has ended is left out."""
        living: dict[tuple[int, float], psutil.Process] = {}
        for pid in dict.fromkeys(pids):
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                # With its start: a number may have become another process's.
                living[pid, process.create_time()] = process
        self._refresh(living)
        readings = {}
        for key, process in living.items():
            with suppress(psutil.Error):
                reading = _read(process, self._proportional.get(key))
                if reading is not None:
                    readings[process.pid] = reading
        return readings

    def _refresh(self, living: dict[tuple[int, float], psutil.Process]) -> None:
        known = {key: each for key, each in self._proportional.items() if key in living}
        self._proportional = known
        begun = self._clock.monotonic()
        never = _Proportional(None, 0, float("-inf"))
        for key in sorted(living, key=lambda key: known.get(key, never).at):
            now = self._clock.monotonic()
            if now - begun > PROPORTIONAL_BUDGET:
                return
            with suppress(psutil.Error):
                resident = living[key].memory_info().rss
                if known.get(key, never).is_stale(now, resident):
                    known[key] = _Proportional(_proportional(living[key]), resident, now)


@dataclass(frozen=True, slots=True)
class _Proportional:
    """A PSS, with the resident memory that it was read with, and when."""

    nbytes: int | None
    resident: int
    at: float

    def is_stale(self, now: float, resident: int) -> bool:
        """Whether it is too old, or the process no longer the size that it was."""
        changed = abs(resident - self.resident) > PROPORTIONAL_CHANGE * self.resident
        return changed or now - self.at >= PROPORTIONAL_EVERY


def _proportional(process: psutil.Process) -> int | None:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):
        return None


def _read(process: psutil.Process, proportional: _Proportional | None) -> ProcessReading | None:
    with process.oneshot():
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        times = process.cpu_times()
        return ProcessReading(
            process.pid,
            times.user + times.system,
            process.memory_info().rss,
            None if proportional is None else proportional.nbytes,
            process.num_threads(),
            process.num_fds(),
        )
