"""Memory per model version, added up over the processes that serve it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inferd.core.link.messages import MemoryUsage
from inferd.server.supervisor.resources.gpus import GpuReading
from inferd.server.supervisor.resources.resources import Reading


@dataclass(frozen=True, slots=True)
class ServingProcess:
    """A process that serves a version on `device`, `cpu` or `cuda:N`.

    `reserved` is what torch's allocator has taken of that GPU, in bytes; None where nobody told.
    """

    model: str
    version: int
    pid: int
    device: str
    reserved: int | None = None


@dataclass(slots=True)
class Taken:
    """Bytes of host memory, and of GPUs by uuid; by device, `cuda:N`, where NVML knows none."""

    host: int = 0
    gpus: Counter[str] = field(default_factory=Counter)


def memory_by_version(
    processes: Iterable[ServingProcess], reading: Reading, visible: str | None = None
) -> dict[tuple[str, int], Taken]:
    """What each version takes, by model and version; without those of which no process was read.

    Host memory is PSS where it is known, else RSS, which counts shared pages in full. GPU memory is
    NVML's figure for the process, all that CUDA took for itself included; where there is none, as in
    some containers, on MIG and without NVML, what torch has reserved. `visible` is the server's
    CUDA_VISIBLE_DEVICES, by which `cuda:N` counts.
    """
    found: dict[tuple[str, int], Taken] = {}
    for process in processes:
        read = reading.processes.get(process.pid)
        if read is None:
            continue
        taken = found.setdefault((process.model, process.version), Taken())
        exact = read.proportional_bytes
        taken.host += read.resident_bytes if exact is None else exact
        taken.gpus.update(_on_gpus(process, reading.gpus, visible))
    return found


def usage_of(taken: Taken, gpus: Iterable[GpuReading]) -> tuple[MemoryUsage, ...]:
    """The same as the protocol lists it: the host's memory, then each GPU's by NVML's number."""
    numbers = {gpu.uuid: gpu.index for gpu in gpus}
    on_gpus = {
        numbers[key] if key in numbers else _number(key): nbytes
        for key, nbytes in taken.gpus.items()
    }
    return (
        MemoryUsage("CPU", 0, taken.host),
        *(MemoryUsage("GPU", number, nbytes) for number, nbytes in sorted(on_gpus.items())),
    )


def _on_gpus(
    process: ServingProcess, gpus: Sequence[GpuReading], visible: str | None
) -> dict[str, int]:
    told = {gpu.uuid: gpu.processes[process.pid] for gpu in gpus if process.pid in gpu.processes}
    if told or process.reserved is None:
        return told
    gpu = _behind(process.device, gpus, visible)
    return {process.device if gpu is None else gpu.uuid: process.reserved}


def _behind(device: str, gpus: Sequence[GpuReading], visible: str | None) -> GpuReading | None:
    """The GPU that a worker with this device sees; None for a part of one, and where none is known."""
    number = _number(device)
    name = str(number)
    if visible is not None:
        names = [each.strip() for each in visible.split(",") if each.strip()]
        name = names[number] if number < len(names) else ""
    for gpu in gpus:
        # CUDA takes the beginning of a uuid for the whole.
        if name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)):
            return gpu
    return None


def _number(device: str) -> int:
    return int(device.partition(":")[2] or 0)
