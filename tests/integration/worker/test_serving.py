"""One worker process with an exported model, over real sockets and arenas."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from inferd.core.link.arena import Arena
from inferd.core.link.messages import (
    BatchDone,
    BatchFailed,
    CloseArena,
    DropBatch,
    GrantOutput,
    Loaded,
    ModelSource,
    OpenArena,
    OutputOverflow,
    Pinning,
    RunBatch,
    SlotTensor,
)
from support import programs
from support.worker_process import GatewayEnd, WorkerProcess

THREADS = 2

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def core() -> int:
    """The CPU core that the worker is pinned to."""
    return max(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory, core: int
) -> Iterator[tuple[WorkerProcess, Loaded]]:
    """The worker of all tests here, and what it reported."""
    file = programs.saved(programs.linear(), tmp_path_factory.mktemp("linear"))
    source = ModelSource("linear", 1, "exported", str(file))
    with WorkerProcess() as worker:
        yield worker, worker.loaded(source, Pinning("cpu", (core,), THREADS))
        # Everything the tests did to it has to leave it alive.
        assert worker.process.poll() is None


@pytest.fixture
def worker(started: tuple[WorkerProcess, Loaded]) -> WorkerProcess:
    """The worker of all tests here."""
    return started[0]


@pytest.fixture
def link(worker: WorkerProcess) -> Iterator[GatewayEnd]:
    """A gateway of this test's own."""
    with worker.open_link() as link:
        yield link


def x(count: int) -> Floats:
    """Input rows."""
    rows: Floats = programs.rows(count).numpy()
    return rows


def expected(value: Floats) -> Floats:
    """What the bare model answers."""
    with torch.no_grad():
        answer: Floats = programs.Linear()(torch.from_numpy(np.array(value))).numpy()
    return answer


def test_it_tells_its_signature(started: tuple[WorkerProcess, Loaded]) -> None:
    """The supervisor learns everything about the model from the worker alone."""
    loaded = started[1]
    assert [spec.name for spec in loaded.signature.inputs] == ["x"]
    assert loaded.signature.max_batch_size == 64
    assert (loaded.platform, loaded.takes_parameters) == ("pytorch_export", False)
    assert loaded.seconds > 0


def test_every_thread_stays_on_its_core(worker: WorkerProcess, core: int) -> None:
    """A thread that some library started before the pinning would run anywhere."""
    tasks = [int(task.name) for task in Path(f"/proc/{worker.process.pid}/task").iterdir()]
    assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {frozenset({core})}


@pytest.mark.parametrize("count", [1, 2, 33, 64])
def test_batches_of_every_size_are_right(link: GatewayEnd, count: int) -> None:
    """What comes back is what the bare model says, to the last bit."""
    (answer,) = link.run(x(count))
    np.testing.assert_array_equal(answer, expected(x(count)))


def test_times_are_told(link: GatewayEnd) -> None:
    """Each step of a batch takes some time, in nanoseconds."""
    link.send([x(2)])
    done = link.expect(BatchDone)
    for ns in (done.input_ns, done.infer_ns, done.output_ns):
        assert 0 < ns < 10_000_000_000


def test_a_slot_that_is_used_again_shows_the_new_rows(link: GatewayEnd) -> None:
    """Tensors that are kept between batches never show an old one."""
    for factor in (1, 2, 3):
        (answer,) = link.run(x(8) * np.float32(factor))
        np.testing.assert_array_equal(answer, expected(x(8) * np.float32(factor)))


def test_only_the_room_for_outputs_is_written(link: GatewayEnd) -> None:
    """Inputs, gaps and neighbours keep their bytes."""
    link.arena.cells[:] = b"\xee" * link.arena.nbytes
    batch = link.send([x(3)], output_bytes=256)
    done = link.expect(BatchDone)
    (output,) = done.outputs
    assert (output.offset, output.nbytes) == (batch.output_offset, 48)
    around = bytes(link.arena.cells[output.offset + output.nbytes :])
    assert set(around) == {0xEE}
    assert bytes(link.arena.cells[:48]) == x(3).tobytes()


def test_outputs_that_do_not_fit_wait_for_room(link: GatewayEnd) -> None:
    """The worker says what it needs, goes on serving, and writes once it is granted."""
    batch = link.send([x(64)], output_bytes=64)
    overflow = link.expect(OutputOverflow)
    assert overflow == OutputOverflow(batch.batch, 64 * 16)
    (meanwhile,) = link.run(x(1))
    np.testing.assert_array_equal(meanwhile, expected(x(1)))

    room = link.arena.allocate(overflow.nbytes)
    assert room is not None
    link.socket.send(GrantOutput(batch.batch, 1, room, overflow.nbytes))
    done = link.expect(BatchDone)
    assert done.batch == batch.batch
    assert done.outputs[0].offset == room
    np.testing.assert_array_equal(link.read(done.outputs[0]), expected(x(64)))


def test_outputs_may_be_granted_room_in_another_arena(link: GatewayEnd) -> None:
    """A gateway that had to make a larger arena gets the outputs there."""
    batch = link.send([x(64)], output_bytes=64)
    need = link.expect(OutputOverflow).nbytes
    with Arena(1 << 16) as larger:
        link.socket.send(OpenArena(2, larger.nbytes), [larger.fd])
        link.socket.send(GrantOutput(batch.batch, 2, 4096, need))
        (slot,) = link.expect(BatchDone).outputs
        answer = np.frombuffer(bytes(larger.cells[4096 : 4096 + slot.nbytes]), "<f4")
        np.testing.assert_array_equal(answer.reshape(64, 4), expected(x(64)))
        link.socket.send(CloseArena(2))
        (after,) = link.run(x(1))
        np.testing.assert_array_equal(after, expected(x(1)))


def test_a_dropped_batch_is_forgotten(link: GatewayEnd) -> None:
    """Nothing is sent for it; a grant that comes too late fails and harms nobody."""
    batch = link.send([x(64)], output_bytes=64)
    link.expect(OutputOverflow)
    link.socket.send(DropBatch(batch.batch))
    link.run(x(1))
    link.socket.send(GrantOutput(batch.batch, 1, batch.output_offset, 1024))
    assert link.expect(BatchFailed).fault.reason == "INTERNAL_ERROR"


def test_a_batch_beyond_the_arena_fails_alone(link: GatewayEnd) -> None:
    """Neither a wrong slot nor an unknown arena ends the worker or touches foreign memory."""
    beyond = SlotTensor("FP32", (2, 4), link.arena.nbytes - 8, 32)
    link.socket.send(RunBatch(71, 1, (beyond,), 0, 1024))
    link.socket.send(RunBatch(72, 9, (beyond,), 0, 1024))
    for number in (71, 72):
        failed = link.expect(BatchFailed)
        assert (failed.batch, failed.fault.reason) == (number, "INTERNAL_ERROR")
    link.run(x(1))


def test_two_gateways_are_served_side_by_side(worker: WorkerProcess, link: GatewayEnd) -> None:
    """Each link has its own arenas and numbers; one ending leaves the other alone."""
    with worker.open_link() as other:
        link.send([x(2)])
        other.send([x(5)])
        assert link.expect(BatchDone).outputs[0].shape == (2, 4)
        assert other.expect(BatchDone).outputs[0].shape == (5, 4)
        other.send([x(64)], output_bytes=64)
        other.expect(OutputOverflow)
    (answer,) = link.run(x(3))
    np.testing.assert_array_equal(answer, expected(x(3)))


def held(worker: WorkerProcess) -> tuple[int, int]:
    """Descriptors and arenas of the worker while it serves one gateway more."""
    with worker.open_link() as link:
        # Ends of file come before what was sent later, so an answer means that they are handled.
        link.run(x(1))
        process = Path(f"/proc/{worker.process.pid}")
        maps = (process / "maps").read_text()
        return len(list((process / "fd").iterdir())), maps.count("inferd-arena")


def test_gateways_that_go_leave_nothing_behind(worker: WorkerProcess, link: GatewayEnd) -> None:
    """After twenty of them the worker has no descriptor and no mapping more than before."""
    link.run(x(1))
    before = held(worker)
    for _ in range(20):
        with worker.open_link() as passing:
            passing.run(x(2))
    assert held(worker) == before
