"""A worker process on a GPU: pinned arenas, three streams, two batches under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

import numpy as np
import numpy.typing as npt
import pytest
import torch

from inferd.core.link.messages import (
    AdvanceBatch,
    BatchAnswer,
    BatchDone,
    BatchFailed,
    GrantOutput,
    Loaded,
    ModelSource,
    OutputOverflow,
    Pinning,
)
from inferd.wire.dtypes import ANY
from inferd.wire.signature import TensorSpec
from support import programs
from support.worker_process import GatewayEnd, WorkerProcess

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.timeout(180),  # the first CUDA call of a process takes its time
]

GPU = Pinning("cuda:0")
WIDTH = 256

Floats = npt.NDArray[np.float32]

OWN_CODE = """
import torch
from inferd.worker.model import Model

class OnDevice(Model):
    def load(self, device):
        self.one = torch.ones((), device=device)

    def predict(self, input, *, parameters):
        if parameters.get("do") == "memory":
            return torch.empty(1 << 50, dtype=torch.uint8, device=self.device)
        if parameters.get("do") == "crash":
            return torch.zeros(4, device=self.device)[torch.tensor([9], device=self.device)]
        if parameters.get("do") == "flip":
            return input.T
        if not isinstance(input, torch.Tensor):
            return input
        assert input.device == self.device
        return input + self.one.to(input.dtype)
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WorkerProcess, Loaded]]:
    """A linear layer, exported on the CPU and served on the GPU."""
    file = programs.saved(programs.linear(width=WIDTH), tmp_path_factory.mktemp("linear"))
    with WorkerProcess() as worker:
        worker.patience(120)
        yield worker, worker.loaded(ModelSource("linear", 1, "exported", str(file)), GPU)
        assert worker.process.poll() is None


@pytest.fixture
def link(started: tuple[WorkerProcess, Loaded]) -> Iterator[GatewayEnd]:
    """A gateway of this test's own."""
    with started[0].open_link(8 << 20) as link:
        yield link


@pytest.fixture
def own_code(tmp_path: Path) -> Iterator[WorkerProcess]:
    """Own code on the GPU that fails on demand."""
    folder = programs.code(tmp_path, OWN_CODE)
    anything = (TensorSpec("input", ANY, None),)
    source = ModelSource(
        "own", 1, "code", str(folder), anything, (TensorSpec("output", ANY, None),)
    )
    with WorkerProcess() as worker:
        worker.patience(120)
        worker.loaded(source, GPU)
        yield worker


def x(count: int, factor: float = 1.0) -> Floats:
    """Input rows."""
    generator = np.random.default_rng(count)
    rows = generator.standard_normal((count, WIDTH), dtype=np.float32)
    return rows * np.float32(factor)


def check(answer: npt.NDArray[np.generic] | npt.NDArray[np.object_], sent: Floats) -> None:
    """The answer is the bare model's, up to the order of summing."""
    with torch.no_grad():
        expected = programs.Linear(WIDTH).double()(torch.from_numpy(sent).double()).numpy()
    np.testing.assert_allclose(answer.astype(np.float64), expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("count", [1, 7, 64])
def test_answers_are_those_of_the_cpu(link: GatewayEnd, count: int) -> None:
    """Moving the program to the GPU changes nothing but rounding."""
    (answer,) = link.run(x(count))
    check(answer, x(count))


def test_two_batches_under_way_do_not_mix(link: GatewayEnd) -> None:
    """Copies and computing overlap; every answer is of its own batch, in order."""
    for start in range(0, 60, 2):
        sent = [x(33, start + 1.0), x(17, start + 2.0)]
        batches = [link.send([rows]) for rows in sent]
        for rows, batch in zip(sent, batches, strict=True):
            done = link.expect(BatchDone)
            assert done.batch == batch.batch
            check(link.read(done.outputs[0]), rows)
            link.release(batch)


def test_times_come_from_the_device(link: GatewayEnd) -> None:
    """Each step takes some time, and less than the test."""
    link.run(x(64))
    link.send([x(64)])
    done = link.expect(BatchDone)
    assert all(0 < ns < 10**10 for ns in (done.input_ns, done.infer_ns, done.output_ns))


def test_a_traced_batch_tells_when_its_steps_began(link: GatewayEnd) -> None:
    """By the clock of the host, after it was sent, each after the one before; others tell nothing."""
    link.run(x(64))
    before = monotonic_ns()
    link.send([x(64)], trace=bytes(range(24)))
    done = link.expect(BatchDone)
    assert done.began is not None
    into, compute, out = done.began
    assert before <= into
    rounding = 2000  # events are told apart to half a microsecond
    assert into + done.input_ns <= compute + rounding
    assert compute + done.infer_ns <= out + rounding
    assert out + done.output_ns <= monotonic_ns()
    link.send([x(64)])
    assert link.expect(BatchDone).began is None


def test_outputs_that_do_not_fit_wait_on_the_device(link: GatewayEnd) -> None:
    """They survive the next batch, and come when there is room."""
    batch = link.send([x(64)], output_bytes=64)
    need = link.expect(OutputOverflow).nbytes
    (meanwhile,) = link.run(x(8))
    check(meanwhile, x(8))
    room = link.arena.allocate(need)
    assert room is not None
    link.socket.send(GrantOutput(batch.batch, 1, room, need))
    (slot,) = link.expect(BatchDone).outputs
    check(link.read(slot), x(64))


def test_a_gateway_that_goes_in_the_middle_harms_nobody(
    started: tuple[WorkerProcess, Loaded], link: GatewayEnd
) -> None:
    """Its arena is unpinned and unmapped only after its last copy."""
    for _ in range(10):
        with started[0].open_link(8 << 20) as passing:
            passing.send([x(64)])
            passing.send([x(64)])
        (answer,) = link.run(x(5))
        check(answer, x(5))


def test_own_code_gets_tensors_on_its_device(own_code: WorkerProcess) -> None:
    """Numbers come on the GPU, texts on the host; strides do not matter."""
    with own_code.open_link() as link:
        (answer,) = link.run(np.arange(6, dtype=np.int64).reshape(2, 3))
        assert answer.tolist() == [[1, 2, 3], [4, 5, 6]]
        (text,) = link.run(np.array([b"a", b""], dtype=object))
        assert text.tolist() == [b"a", b""]
        sent = np.arange(6, dtype=np.float32).reshape(2, 3)
        link.send([sent], parameters={"do": "flip"})
        assert link.read(link.expect(BatchDone).outputs[0]).tolist() == sent.T.tolist()
        (empty,) = link.run(np.zeros((0, 3), np.float32))
        assert empty.shape == (0, 3)


def test_running_out_of_device_memory_fails_one_batch(own_code: WorkerProcess) -> None:
    """The next batch is served."""
    with own_code.open_link() as link:
        link.send([np.zeros(1, np.float32)], parameters={"do": "memory"})
        assert link.expect(BatchFailed).fault.reason == "MODEL_OOM"
        (answer,) = link.run(np.zeros(1, np.float32))
        assert answer.tolist() == [1.0]


def test_a_broken_context_ends_the_process(own_code: WorkerProcess) -> None:
    """No second batch ever sees it: a new process has to take over."""
    with own_code.open_link() as link:
        link.send([np.zeros(1, np.float32)], parameters={"do": "crash"})
        assert own_code.wait() == 75


def test_generators_take_turns_on_the_device(tmp_path: Path) -> None:
    """Inputs are on the device, answers in the arena when they are told, one step each in turn."""
    code = """
from inferd.worker.model import Model

class Counts(Model):
    def predict(self, input):
        assert input.device == self.device
        for step in range(1, 4):
            yield input * step
        return input
"""
    folder = programs.code(tmp_path / "counts", code)
    inputs, outputs = (TensorSpec("input", ANY, None),), (TensorSpec("output", ANY, None),)
    with WorkerProcess() as worker:
        worker.patience(120)
        loaded = worker.loaded(ModelSource("c", 1, "code", str(folder), inputs, outputs, 0), GPU)
        assert loaded.decoupled
        with worker.open_link(1 << 20) as link:
            batches = [link.send([np.full(3, n, np.float32)]).batch for n in (5, 7)]
            for step in (1, 2, 3):
                for n, batch in zip((5, 7), batches, strict=True):
                    answer = link.expect(BatchAnswer)
                    assert answer.batch == batch
                    assert link.read(answer.outputs[0]).tolist() == [n * step] * 3
                for batch in batches:
                    link.socket.send(AdvanceBatch(batch))
            for n in (5, 7):
                assert link.read(link.expect(BatchDone).outputs[0]).tolist() == [n] * 3
