"""Metrics of what processes and GPUs use."""

from __future__ import annotations

import os
from collections.abc import Iterator

from inferd.core.telemetry import metrics
from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.observation import Observation
from inferd.server.supervisor.resources.gpus import THROTTLE_REASONS, GpuReading
from inferd.server.supervisor.resources.processes import ProcessReading


def show_usage(seen: Observation, families: Families) -> None:
    """Every process and GPU that was read; figures that the machine does not tell are left out."""
    for labels, pid in _processes(seen):
        if (process := seen.reading.processes.get(pid)) is not None:
            _show_process(process, labels, families)
    for gpu in seen.reading.gpus:
        _show_gpu(gpu, families)
        for worker in seen.workers:
            if (held := gpu.processes.get(worker.pid or 0)) is not None:
                series = (worker.model, str(worker.version), str(worker.instance), str(gpu.index))
                families.add(metrics.WORKER_GPU_MEMORY, series, held)
    for worker in seen.workers:
        if (memory := worker.memory) is not None:
            series = (worker.model, str(worker.version), str(worker.instance), worker.device)
            families.add(metrics.TORCH_ALLOCATED, series, memory.allocated)
            families.add(metrics.TORCH_RESERVED, series, memory.reserved)
            families.add(metrics.TORCH_PEAK, series, memory.peak)


def _processes(seen: Observation) -> Iterator[tuple[tuple[str, str, str, str], int]]:
    """Labels and ids of all processes of this server."""
    yield ("supervisor", "", "", ""), os.getpid()
    for gateway in seen.gateways:
        if gateway.pid is not None:
            yield ("gateway", "", "", gateway.name), gateway.pid
    for worker in seen.workers:
        if worker.pid is not None:
            labels = ("worker", worker.model, str(worker.version), str(worker.instance))
            yield labels, worker.pid


def _show_process(
    process: ProcessReading, labels: tuple[str, str, str, str], families: Families
) -> None:
    families.add(metrics.CPU, labels, process.cpu_seconds)
    families.add(metrics.RESIDENT, labels, process.resident_bytes)
    families.add(metrics.PROPORTIONAL, labels, process.proportional_bytes)
    families.add(metrics.THREADS, labels, process.threads)
    families.add(metrics.OPEN_FILES, labels, process.open_files)


def _show_gpu(gpu: GpuReading, families: Families) -> None:
    labels = str(gpu.index), gpu.uuid
    families.add(metrics.GPU_LOST, labels, int(gpu.lost))
    for number, count in sorted(gpu.xid_errors.items()):
        families.add(metrics.GPU_XID, (*labels, str(number)), count)
    if gpu.lost:
        return  # nothing else is known of it now
    families.add(metrics.GPU_UTILIZATION, labels, gpu.utilization)
    families.add(metrics.GPU_MEMORY_USED, labels, gpu.memory_used)
    families.add(metrics.GPU_MEMORY_TOTAL, labels, gpu.memory_total)
    families.add(metrics.GPU_POWER, labels, gpu.power_watts)
    families.add(metrics.GPU_ENERGY, labels, gpu.energy_joules)
    families.add(metrics.GPU_TEMPERATURE, labels, gpu.temperature)
    families.add(metrics.GPU_CLOCK, (*labels, "sm"), gpu.sm_clock_hertz)
    families.add(metrics.GPU_CLOCK, (*labels, "memory"), gpu.memory_clock_hertz)
    for reason in THROTTLE_REASONS:
        families.add(metrics.GPU_THROTTLED, (*labels, reason), int(reason in gpu.throttle))
    families.add(metrics.GPU_ECC, (*labels, "corrected"), gpu.ecc_corrected)
    families.add(metrics.GPU_ECC, (*labels, "uncorrected"), gpu.ecc_uncorrected)
