"""The machine that a benchmark ran on, and the versions of what ran."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the client ran; `cores` are those that it may use."""

    system: str
    processor: str
    cores: int
    memory: int
    python: str
    grpcio: str
    inferd: str


def this_machine() -> Machine:
    """The machine of this process."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=usable_cores(),
        memory=psutil.virtual_memory().total,
        python=platform.python_version(),
        grpcio=version("grpcio"),
        inferd=version("inferd"),
    )


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(usable_cpus())


def usable_cpus() -> frozenset[int]:
    """Which cores this process may run on."""
    return frozenset(os.sched_getaffinity(0))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
