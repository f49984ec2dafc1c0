"""The real NVML and the real allocator of torch: what a worker on a GPU takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from inferd.core.link.messages import MemoryReport, ModelSource, Pinning
from inferd.server.supervisor.resources.gpus import THROTTLE_REASONS
from inferd.server.supervisor.resources.memory import ServingProcess, memory_by_version, usage_of
from inferd.server.supervisor.resources.nvml import Nvml, NvmlUnavailable
from inferd.server.supervisor.resources.resources import Resources
from inferd.wire.dtypes import ANY
from inferd.wire.signature import TensorSpec
from support import programs
from support.worker_process import WorkerProcess

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.timeout(180),  # the first CUDA call of a process takes its time
]

STEP = 64 << 20

HOARDER = f"""
import torch
from inferd.worker.model import Model

class Hoarder(Model):
    def load(self, device):
        self.kept = [torch.zeros({STEP}, dtype=torch.uint8, device=device)]

    def predict(self, input):
        self.kept.append(torch.zeros({STEP}, dtype=torch.uint8, device=self.device))
        return input
"""


@pytest.fixture(scope="module")
def resources() -> Iterator[Resources]:
    """This machine's, where it has NVML."""
    try:
        Nvml().close()
    except NvmlUnavailable as why:
        pytest.skip(f"CUDA without NVML: {why}")
    resources = Resources()
    yield resources
    resources.close()


def test_every_gpu_is_read(resources: Resources) -> None:
    """Figures that every device has are there and plausible; the others are None or plausible."""
    for _ in range(2):
        gpus = resources.read([]).gpus
        assert [gpu.index for gpu in gpus] == list(range(len(gpus)))
        assert len({gpu.uuid for gpu in gpus}) == len(gpus) >= 1
        for gpu in gpus:
            assert not gpu.lost
            assert gpu.name
            assert gpu.memory_used is None or 0 <= gpu.memory_used <= (gpu.memory_total or 0)
            assert gpu.utilization is None or 0 <= gpu.utilization <= 1
            assert gpu.temperature is None or 0 < gpu.temperature < 120
            assert gpu.power_watts is None or 0 < gpu.power_watts < 3000
            assert gpu.energy_joules is None or gpu.energy_joules > 0
            assert gpu.sm_clock_hertz is None or 1e8 <= gpu.sm_clock_hertz < 1e10
            assert gpu.memory_clock_hertz is None or 1e8 <= gpu.memory_clock_hertz < 1e11
            assert gpu.throttle <= set(THROTTLE_REASONS)
            assert all(count > 0 for count in gpu.xid_errors.values())


def test_a_worker_tells_what_torch_holds(resources: Resources, tmp_path: Path) -> None:
    """Soon after it has loaded, and again when that changes; NVML's figure is never smaller."""
    inputs, outputs = (TensorSpec("input", ANY, None),), (TensorSpec("output", ANY, None),)
    folder = programs.code(tmp_path, HOARDER)
    source = ModelSource("hoarder", 1, "code", str(folder), inputs, outputs)
    with WorkerProcess() as worker:
        worker.patience(120)
        worker.loaded(source, Pinning("cuda:0"))
        first = worker.control.receive()
        assert isinstance(first, MemoryReport)
        assert STEP <= first.allocated <= first.reserved
        assert first.peak >= first.allocated
        with worker.open_link() as link:
            link.run(np.zeros(1, np.float32))
        second = worker.control.receive()
        assert isinstance(second, MemoryReport)
        assert second.allocated >= first.allocated + STEP
        pid = worker.process.pid
        reading = resources.read([pid])
        processes = [ServingProcess("hoarder", 1, pid, "cuda:0", second.reserved)]
        taken = memory_by_version(processes, reading)["hoarder", 1]
        host, on_gpu = usage_of(taken, reading.gpus)
        assert (host.kind, on_gpu.kind, on_gpu.device) == ("CPU", "GPU", 0)
        assert host.nbytes > 50_000_000
        # NVML's, with CUDA's own part, or torch's where NVML sees other process ids than we do.
        told = [gpu.processes[pid] for gpu in reading.gpus if pid in gpu.processes]
        assert on_gpu.nbytes == (sum(told) if told else second.reserved)
        assert on_gpu.nbytes >= second.reserved


def test_a_worker_on_the_cpu_tells_nothing(tmp_path: Path) -> None:
    """Not even where there is a GPU: what it answers is all that it says."""
    file = programs.saved(programs.linear(width=4), tmp_path)
    with WorkerProcess() as worker:
        worker.loaded(ModelSource("linear", 1, "exported", str(file)))
        with worker.open_link() as link:
            link.run(np.zeros((1, 4), np.float32))
        worker.control.set_blocking(blocking=False)
        with pytest.raises(BlockingIOError):
            worker.control.receive()
        worker.control.set_blocking(blocking=True)
