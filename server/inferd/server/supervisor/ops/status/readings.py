"""What the status takes from a reading of processes and GPUs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol


class ProcessReading(Protocol):
    """One process: CPU seconds since it began, bytes of memory."""

    @property
    def cpu_seconds(self) -> float:
        """In user and system mode."""

    @property
    def resident_bytes(self) -> int:
        """Shared parts in full."""

    @property
    def proportional_bytes(self) -> int | None:
        """Shared parts divided among those that share them, where the kernel tells."""


class GpuReading(Protocol):
    """One GPU, as its driver tells; None for what it does not."""

    @property
    def index(self) -> int:
        """Its number on this machine."""

    @property
    def uuid(self) -> str:
        """Its name among all GPUs."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def utilization(self) -> float | None:
        """From 0 to 1."""

    @property
    def lost(self) -> bool:
        """Whether it does not answer its driver any more."""

    @property
    def memory_used(self) -> int | None:
        """In bytes."""

    @property
    def memory_total(self) -> int | None:
        """In bytes."""

    @property
    def power_watts(self) -> float | None:
        """Now."""

    @property
    def energy_joules(self) -> float | None:
        """Only grows."""

    @property
    def temperature(self) -> float | None:
        """In degrees Celsius."""

    @property
    def processes(self) -> Mapping[int, int]:
        """Bytes that processes hold on it, by process id."""


class Reading(Protocol):
    """Processes and GPUs at one moment."""

    @property
    def gpus(self) -> Sequence[GpuReading]:
        """All of the machine."""

    @property
    def processes(self) -> Mapping[int, ProcessReading]:
        """Those that were asked for and live, by process id."""


class Reader(Protocol):
    """Reads them; may block for some milliseconds."""

    def read(self, pids: Collection[int], /) -> Reading:
        """These processes, and every GPU."""


class Nothing:
    """A reading of nothing, for servers that nobody reads."""

    gpus: Sequence[GpuReading] = ()
    processes: Mapping[int, ProcessReading] = {}
