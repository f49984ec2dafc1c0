"""Device names and counts become pinnings."""

from __future__ import annotations

import pytest

from inferd.core.link.messages import Pinning
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.replicas.placement import PlacementError, place

CPUS = Machine(cpus=tuple(range(8)), cores=8, gpus=0)
GPUS = Machine(cpus=tuple(range(8)), cores=8, gpus=2)


def _place(
    *devices: str, machine: Machine = CPUS, instances: int = 1, threads: int | None = None
) -> tuple[Pinning, ...]:
    return place(devices, instances=instances, threads=threads, machine=machine)


def test_auto_is_the_cpu_without_a_gpu() -> None:
    """One worker with all cores."""
    assert _place("auto") == (Pinning("cpu", (), 8),)


def test_auto_is_every_gpu_where_there_are_some() -> None:
    """One worker each; they share the cores for what the host does."""
    assert _place("auto", machine=GPUS) == (Pinning("cuda:0", (), 4), Pinning("cuda:1", (), 4))
    assert _place("cuda", machine=GPUS) == _place("auto", machine=GPUS)


def test_workers_share_the_cores() -> None:
    """Each gets its part, at least one thread."""
    assert [pinning.threads for pinning in _place("cpu", instances=3)] == [2, 2, 2]
    assert [pinning.threads for pinning in _place("cpu", instances=9)] == [1] * 9


def test_a_quota_counts() -> None:
    """In a container with two cores' worth of time on a machine of eight, two threads."""
    assert _place("cpu", machine=Machine(tuple(range(8)), 2, 0))[0].threads == 2


def test_threads_set_are_threads_taken() -> None:
    """The operator knows better."""
    assert _place("cpu", instances=2, threads=5)[0].threads == 5


def test_named_cores_are_pinned_and_used() -> None:
    """cpu:0-3 is four cores and four threads, shared by its workers."""
    assert _place("cpu:0-3") == (Pinning("cpu", (0, 1, 2, 3), 4),)
    assert _place("cpu:1,4-5") == (Pinning("cpu", (1, 4, 5), 3),)
    assert [pinning.threads for pinning in _place("cpu:0-3", instances=2)] == [2, 2]


def test_several_devices_with_several_instances() -> None:
    """Instances count per device."""
    placed = _place("cuda:1", "cpu", machine=GPUS, instances=2)
    assert [pinning.device for pinning in placed] == ["cuda:1", "cuda:1", "cpu", "cpu"]


@pytest.mark.parametrize(
    ("device", "machine", "expected"),
    [
        ("cuda:2", GPUS, "this machine has 2 GPUs, cuda:0 to cuda:1"),
        ("cuda:0", CPUS, "no GPU that NVIDIA's driver shows"),
        ("cuda", CPUS, "no GPU that NVIDIA's driver shows"),
        ("cuda:1", Machine((0,), 1, 1), "this machine has 1 GPU, cuda:0"),
        ("cuda:x", GPUS, "device 'cuda:x' is unknown; expected auto, cpu"),
        ("cuda:-1", GPUS, "is unknown"),
        ("gpu", GPUS, "is unknown"),
        ("auto:1", GPUS, "is unknown"),
        ("", CPUS, "is unknown"),
        ("cpu:", CPUS, "is unknown"),
        ("cpu:a", CPUS, "is unknown"),
        ("cpu:3-1", CPUS, "backwards"),
        ("cpu:0-99999999999", CPUS, "beyond"),
        ("cpu:6-9", CPUS, "names core 8; this process may run on 0, 1, 2"),
    ],
)
def test_what_is_not_there_is_told(device: str, machine: Machine, expected: str) -> None:
    """What was asked for, and what there is or was expected."""
    with pytest.raises(PlacementError) as caught:
        _place(device, machine=machine)
    assert expected in str(caught.value)


def test_no_device_is_a_mistake() -> None:
    """An empty list places nothing."""
    with pytest.raises(PlacementError, match="no device"):
        _place()
