"""What this machine offers: CPU cores and GPUs. Never asks torch, which would occupy the GPU."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inferd.server.supervisor.resources.nvml import NvmlUnavailable, opened

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """`cpus` are the cores this process may run on, `gpus` the GPUs it may use, numbered from 0.

    `cores` is how many cores' worth of time it gets: fewer than `cpus` in a container with a quota.
    """

    cpus: tuple[int, ...]
    cores: int
    gpus: int


def survey(environment: Mapping[str, str] | None = None) -> Machine:
    """What there is, seen from this process."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    quotas = [quota for folder in _own_cgroups() if (quota := cpu_quota(folder)) is not None]
    cores = max(1, min([len(cpus), *map(math.floor, quotas)]))
    given = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    return Machine(cpus, cores, visible_gpus(_nvml_count(), given))


def visible_gpus(present: int, given: str | None) -> int:
    """How many of the GPUs present CUDA_VISIBLE_DEVICES leaves; None if it is not set."""
    if given is None:
        return present
    named = [name.strip() for name in given.split(",") if name.strip()]
    usable = 0
    for name in named:
        # CUDA stops at the first entry that it cannot use.
        if name.lstrip("-").isdigit() and not 0 <= int(name) < present:
            break
        usable += 1
    return min(usable, present)


def cpu_quota(cgroup: Path) -> float | None:
    """Cores' worth of CPU time this process may use, from cgroup v2 or v1; None without a limit."""
    with suppress(OSError, ValueError):
        limit, period = (cgroup / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    with suppress(OSError, ValueError):
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        return (
            None if quota <= 0 else quota / int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
        )
    return None


def _own_cgroups() -> list[Path]:
    """The folders of this process's cgroup (v2) and of those around it; in a container, one."""
    folder = _CGROUP
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                folder = _CGROUP / line.removeprefix("0::/")
    return [each for each in (folder, *folder.parents) if each.is_relative_to(_CGROUP)]


def _nvml_count() -> int:
    """GPUs of this machine; 0 without NVIDIA's driver or its Python binding."""
    try:
        with opened() as nvml:
            return nvml.count()
    except NvmlUnavailable:
        return 0
