"""Metrics of processes and GPUs: each figure under its own name, what is not known left out."""

from __future__ import annotations

import os

from inferd.core.link.messages import MemoryReport
from inferd.server.supervisor.ops.observation import WorkerView
from inferd.server.supervisor.ops.usage import show_usage
from inferd.server.supervisor.replicas.instance import Phase
from inferd.server.supervisor.resources.gpus import THROTTLE_REASONS, GpuReading
from inferd.server.supervisor.resources.processes import ProcessReading
from inferd.server.supervisor.resources.resources import Reading
from support.observation import Series, one, seen, series

WORKER, GATEWAY = 42, 41
LABELS = {"model": "digits", "version": "1", "instance": "0"}
GPU = {"gpu": "0", "uuid": "GPU-1"}


def shown(*gpus: GpuReading) -> Series:
    """What is shown of the processes of a server, and these GPUs."""
    processes = {
        os.getpid(): ProcessReading(os.getpid(), 1.5, 100, 90, 3, 7),
        GATEWAY: ProcessReading(GATEWAY, 2.5, 200, None, 4, 8),
        WORKER: ProcessReading(WORKER, 3.5, 300, 250, 5, 9),
    }
    worker = WorkerView(
        "digits", 1, 0, "cuda:0", up=True, phase=Phase.ATTACHED, pid=WORKER,
        memory=MemoryReport(10, 20, 15),
    )  # fmt: skip
    return series(seen(workers=(worker,), reading=Reading(gpus, processes)), show_usage)


def test_every_process_is_told_by_what_it_is() -> None:
    """Workers by model, version and instance, gateways by name; a PSS that is not known is left out."""
    found = shown()
    assert one(found, "inferd_process_cpu_seconds_total", process="supervisor") == 1.5
    assert one(found, "inferd_process_resident_bytes", process="gateway", instance="gateway") == 200
    worker = {"process": "worker", **LABELS}
    assert one(found, "inferd_process_cpu_seconds_total", **worker) == 3.5
    assert one(found, "inferd_process_proportional_bytes", **worker) == 250
    assert one(found, "inferd_process_threads", **worker) == 5
    assert one(found, "inferd_process_open_files", **worker) == 9
    told = [dict(labels) for name, labels in found if name == "inferd_process_proportional_bytes"]
    assert {each["process"] for each in told} == {"supervisor", "worker"}


def test_gpu_memory_is_told_per_worker() -> None:
    """As the driver counts it, and as torch's allocator does."""
    found = shown(GpuReading(0, "GPU-1", "a GPU", processes={WORKER: 64, 4711: 1}))
    assert one(found, "inferd_worker_gpu_memory_bytes", **LABELS, gpu="0") == 64
    device = {**LABELS, "device": "cuda:0"}
    assert one(found, "inferd_torch_allocated_bytes", **device) == 10
    assert one(found, "inferd_torch_reserved_bytes", **device) == 20
    assert one(found, "inferd_torch_peak_bytes", **device) == 15


def test_a_gpu_s_figures_are_told_in_base_units() -> None:
    """Of throttling every reason, as 0 or 1; of XID errors the numbers that came up."""
    found = shown(
        GpuReading(
            0, "GPU-1", "a GPU", utilization=0.5, memory_used=10, memory_total=100,
            power_watts=70.0, energy_joules=5.0, temperature=40.0, sm_clock_hertz=1e9,
            memory_clock_hertz=2e9, throttle=frozenset({"power_cap"}), xid_errors={79: 2},
            ecc_corrected=3, ecc_uncorrected=1,
        )
    )  # fmt: skip
    assert one(found, "inferd_gpu_utilization_ratio", **GPU) == 0.5
    assert one(found, "inferd_gpu_memory_used_bytes", **GPU) == 10
    assert one(found, "inferd_gpu_memory_total_bytes", **GPU) == 100
    assert one(found, "inferd_gpu_power_watts", **GPU) == 70
    assert one(found, "inferd_gpu_energy_joules_total", **GPU) == 5
    assert one(found, "inferd_gpu_temperature_celsius", **GPU) == 40
    assert one(found, "inferd_gpu_clock_hertz", **GPU, clock="memory") == 2e9
    throttled = {
        reason: one(found, "inferd_gpu_throttled", **GPU, reason=reason)
        for reason in THROTTLE_REASONS
    }
    assert [reason for reason, value in throttled.items() if value] == ["power_cap"]
    assert one(found, "inferd_gpu_xid_errors_total", **GPU, xid="79") == 2
    assert one(found, "inferd_gpu_ecc_errors_total", **GPU, kind="uncorrected") == 1
    assert one(found, "inferd_gpu_lost", **GPU) == 0


def test_of_a_lost_gpu_only_that_is_told() -> None:
    """Its figures would be those of another time."""
    found = shown(GpuReading(0, "GPU-1", "a GPU", xid_errors={79: 1}, lost=True))
    assert one(found, "inferd_gpu_lost", **GPU) == 1
    assert one(found, "inferd_gpu_xid_errors_total", **GPU, xid="79") == 1
    assert {name for name, labels in found if ("uuid", "GPU-1") in labels} == {
        "inferd_gpu_lost",
        "inferd_gpu_xid_errors_total",
    }
