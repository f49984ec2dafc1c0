"""Memory per model version, added up over processes."""

from __future__ import annotations

import pytest

from inferd.core.link.messages import MemoryUsage
from inferd.server.supervisor.resources.gpus import GpuReading
from inferd.server.supervisor.resources.memory import (
    ServingProcess,
    Taken,
    memory_by_version,
    usage_of,
)
from inferd.server.supervisor.resources.processes import ProcessReading
from inferd.server.supervisor.resources.resources import Reading


def process(pid: int, resident: int, proportional: int | None = None) -> ProcessReading:
    """A process of which only memory matters."""
    return ProcessReading(pid, 1.0, resident, proportional, 4, 9)


def reading(*processes: ProcessReading, gpus: tuple[GpuReading, ...] = ()) -> Reading:
    """These processes and GPUs."""
    return Reading(gpus, {each.pid: each for each in processes})


def gpu(index: int, uuid: str, **processes: int) -> GpuReading:
    """A GPU with processes, `p41=7` for 7 bytes of process 41."""
    held = {int(name[1:]): nbytes for name, nbytes in processes.items()}
    return GpuReading(index, uuid, "a GPU", processes=held)


def test_workers_of_a_version_are_added_up() -> None:
    """Each version for itself; other processes of the reading are nobody's."""
    found = memory_by_version(
        [
            ServingProcess("m", 1, 41, "cpu"),
            ServingProcess("m", 1, 42, "cpu"),
            ServingProcess("m", 2, 43, "cpu"),
            ServingProcess("n", 1, 44, "cpu"),
        ],
        reading(*(process(pid, 1000, pid) for pid in range(40, 50))),
    )
    assert found == {("m", 1): Taken(83), ("m", 2): Taken(43), ("n", 1): Taken(44)}


def test_pages_count_in_full_where_their_share_is_not_known() -> None:
    """PSS where there is one, even of 0 bytes, else RSS."""
    processes = [ServingProcess("m", 1, pid, "cpu") for pid in (41, 42, 43)]
    found = memory_by_version(
        processes, reading(process(41, 100, 60), process(42, 100), process(43, 100, 0))
    )
    assert found == {("m", 1): Taken(160)}


def test_processes_that_have_ended_take_nothing() -> None:
    """A version without any that was read is not listed: nothing is known of it."""
    processes = [ServingProcess("m", 1, 41, "cpu"), ServingProcess("m", 1, 42, "cuda:0", 7)]
    assert memory_by_version(processes, reading(process(41, 5))) == {("m", 1): Taken(5)}
    assert memory_by_version(processes[1:], reading(process(41, 5))) == {}


def test_gpu_memory_is_what_nvml_says_of_the_process() -> None:
    """More than torch has reserved, for CUDA itself takes some; each GPU for itself."""
    gpus = (gpu(0, "GPU-a", p41=500, p42=600, p99=1), gpu(1, "GPU-b", p43=700))
    found = memory_by_version(
        [
            ServingProcess("m", 1, 41, "cuda:0", 100),
            ServingProcess("m", 1, 42, "cuda:0", None),
            ServingProcess("m", 1, 43, "cuda:1", 100),
        ],
        reading(*(process(pid, 10) for pid in (41, 42, 43)), gpus=gpus),
    )[("m", 1)]
    assert found.gpus == {"GPU-a": 1100, "GPU-b": 700}
    assert usage_of(found, gpus) == (
        MemoryUsage("CPU", 0, 30),
        MemoryUsage("GPU", 0, 1100),
        MemoryUsage("GPU", 1, 700),
    )


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cuda:0", None, "GPU-aaaa"),
        ("cuda:1", None, "GPU-bbbb"),
        ("cuda:0", "1", "GPU-bbbb"),
        ("cuda:1", " 1, 0", "GPU-aaaa"),
        ("cuda:0", "GPU-bb", "GPU-bbbb"),
        ("cuda:0", "MIG-bbbb", "cuda:0"),
        ("cuda:1", "0", "cuda:1"),
    ],
)
def test_where_nvml_says_nothing_torch_does(
    device: str, visible: str | None, expected: str
) -> None:
    """As in a container of another namespace; the GPU is the one that the worker sees."""
    gpus = (gpu(0, "GPU-aaaa", p7=1), gpu(1, "GPU-bbbb"))
    found = memory_by_version(
        [ServingProcess("m", 1, 41, device, 100), ServingProcess("m", 1, 42, device, 50)],
        reading(process(41, 10), process(42, 10), gpus=gpus),
        visible,
    )
    assert found[("m", 1)].gpus == {expected: 150}


def test_without_nvml_a_gpu_has_the_number_of_its_device() -> None:
    """There is no other; processes that neither tells of take none."""
    processes = [ServingProcess("m", 1, 41, "cuda:3", 100), ServingProcess("m", 1, 42, "cuda:4")]
    (found,) = memory_by_version(processes, reading(process(41, 10), process(42, 10))).values()
    assert usage_of(found, ()) == (MemoryUsage("CPU", 0, 20), MemoryUsage("GPU", 3, 100))
