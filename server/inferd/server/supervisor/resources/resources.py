"""One reading of everything: the GPUs of this machine, and the processes asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inferd.core.clock import Clock, SystemClock
from inferd.server.supervisor.resources.gpus import GpuReading, Gpus
from inferd.server.supervisor.resources.processes import Processes, ProcessReading


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: all GPUs, and those of the processes asked for that live, by id.

    `at` is when, in seconds on a clock that never goes back.
    """

    gpus: tuple[GpuReading, ...]
    processes: Mapping[int, ProcessReading]
    at: float = 0.0


class Resources:
    """Reads GPUs and processes. Without NVML there is one log line, and no GPU in readings."""

    def __init__(self, library: Any = None, *, clock: Clock | None = None) -> None:
        """`library` takes the place of `pynvml`."""
        self._gpus = Gpus(library)
        self._processes = Processes(clock)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()

    def read(self, pids: Iterable[int]) -> Reading:
        """GPUs and these processes as they are now. Blocks: not for an event loop's own thread.

        Safe from any thread; two readings take turns.
        """
        with self._lock:
            processes, at = self._processes.read(pids), self._clock.monotonic()
            return Reading(self._gpus.read(), processes, at)

    def close(self) -> None:
        """Let go of NVML, unless a reading hangs in it; later readings have no GPUs."""
        if self._lock.acquire(timeout=1.0):
            try:
                self._gpus.close()
            finally:
                self._lock.release()
