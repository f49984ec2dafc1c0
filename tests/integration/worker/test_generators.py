"""One worker process with a model that yields: turns, inputs, room, and how generators end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from inferd.core.link.messages import (
    AdvanceBatch,
    BatchAnswer,
    BatchDone,
    BatchFailed,
    CloseBatch,
    GrantOutput,
    Loaded,
    ModelSource,
    OutputOverflow,
    ParameterValue,
)
from inferd.wire.dtypes import ANY
from inferd.wire.signature import TensorSpec
from support import programs
from support.worker_process import GatewayEnd, WorkerProcess

MODEL = '''
import torch
from inferd.worker.model import Model

class Counts(Model):
    """Yields its input, times 1, 2 and so on; `do` asks for something else.

    Every generator is entered in `open` and, by its `finally`, taken out of it.
    """

    def load(self, device):
        self.open = 0
        self.ended = 0

    def predict(self, input, *, parameters):
        do = parameters.get("do", "")
        if do == "census":
            return torch.tensor([self.open, self.ended])
        self.open += 1
        try:
            for step in range(1, parameters.get("times", 3) + 1):
                yield input * step
            if do == "raise":
                raise ValueError("/secret/folder knows too much")
            if do == "shape":
                yield {"wrong": input}
            if do == "return":
                return input
            if do == "large":
                yield input.repeat(1 << 16)
                yield input
        finally:
            self.open -= 1
            self.ended += 1
            if do == "untidy":
                raise RuntimeError("in its finally")
'''


def source(folder: str) -> ModelSource:
    """The model with one input and output of any form."""
    inputs, outputs = (TensorSpec("input", ANY, None),), (TensorSpec("output", ANY, None),)
    return ModelSource("counts", 1, "code", folder, inputs, outputs, 0)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WorkerProcess, Loaded]]:
    """The worker of all tests here, and what it reported."""
    folder = programs.code(tmp_path_factory.mktemp("counts"), MODEL)
    with WorkerProcess() as worker:
        yield worker, worker.loaded(source(str(folder)))
        assert worker.process.poll() is None


@pytest.fixture
def link(started: tuple[WorkerProcess, Loaded]) -> Iterator[GatewayEnd]:
    """A gateway of this test's own."""
    with started[0].open_link() as link:
        yield link


def ones(value: float = 1.0) -> np.ndarray:
    """One number."""
    return np.full(1, value, np.float32)


def census(link: GatewayEnd) -> list[int]:
    """Generators that are open, and those that have ended, as the model counts them."""
    link.send([ones()], parameters={"do": "census"})
    (slot,) = link.expect(BatchDone).outputs
    found: list[int] = link.read(slot).tolist()
    return found


def test_the_gateway_learns_that_it_yields(started: tuple[WorkerProcess, Loaded]) -> None:
    """It has to refuse unary calls of it."""
    assert started[1].decoupled
    assert started[1].takes_parameters


def test_it_takes_a_step_when_it_is_told_to(link: GatewayEnd) -> None:
    """The first at once; then one answer for each `AdvanceBatch`; its input stays as it is."""
    batch = link.send([ones(7)]).batch
    for step in (1, 2, 3):
        answer = link.expect(BatchAnswer)
        assert (answer.batch, link.read(answer.outputs[0]).tolist()) == (batch, [7 * step])
        link.socket.send(AdvanceBatch(batch))
    done = link.expect(BatchDone)
    assert (done.batch, done.outputs) == (batch, ())
    assert done.infer_ns > 0


def test_what_it_returns_is_its_last_answer(link: GatewayEnd) -> None:
    """With the news that it has ended in the same message."""
    batch = link.send([ones(7)], parameters={"do": "return", "times": 0}).batch
    done = link.expect(BatchDone)
    assert (done.batch, link.read(done.outputs[0]).tolist()) == (batch, [7])


def test_generators_take_turns(link: GatewayEnd) -> None:
    """One step each, in the order in which they were told to: nobody runs away."""
    batches = [link.send([ones(n)], output_bytes=256).batch for n in range(5)]
    for step in (1, 2, 3):
        answers = [link.expect(BatchAnswer) for _ in batches]
        assert [each.batch for each in answers] == batches
        values = [link.read(each.outputs[0]).tolist() for each in answers]
        assert values == [[n * step] for n in range(5)]
        for batch in batches:
            link.socket.send(AdvanceBatch(batch))
    assert [link.expect(BatchDone).batch for _ in batches] == batches


def test_gateways_take_turns_as_well(started: tuple[WorkerProcess, Loaded]) -> None:
    """A second link's generator goes on while the first one's has not been read."""
    with started[0].open_link() as first, started[0].open_link() as second:
        first.send([ones()])
        first.expect(BatchAnswer)
        batch = second.send([ones()]).batch
        for _ in range(3):
            second.expect(BatchAnswer)
            second.socket.send(AdvanceBatch(batch))
        second.expect(BatchDone)


def test_one_that_is_closed_cleans_up(link: GatewayEnd) -> None:
    """Its `finally` has run when the worker says that it is done; told twice, it says so once."""
    opened, ended = census(link)
    batch = link.send([ones()]).batch
    link.expect(BatchAnswer)
    assert census(link) == [opened + 1, ended]
    link.socket.send(CloseBatch(batch))
    link.socket.send(CloseBatch(batch))
    link.socket.send(AdvanceBatch(batch))
    assert link.expect(BatchDone).batch == batch
    assert census(link) == [opened, ended + 1]


def test_one_that_was_told_to_go_on_is_closed_all_the_same(link: GatewayEnd) -> None:
    """The messages cross: at most one more answer, then the end."""
    batch = link.send([ones()], parameters={"times": 10**9}).batch
    link.expect(BatchAnswer)
    link.socket.send(AdvanceBatch(batch))
    link.socket.send(CloseBatch(batch))
    message = link.socket.receive()
    if isinstance(message, BatchAnswer):
        message = link.socket.receive()
    assert isinstance(message, BatchDone)
    link.socket.send(AdvanceBatch(batch))
    assert census(link)[0] == 0


def test_the_generators_of_a_gateway_that_is_gone_are_closed(
    started: tuple[WorkerProcess, Loaded], link: GatewayEnd
) -> None:
    """Those that stand still and those whose turn it is."""
    before = census(link)
    with started[0].open_link() as other:
        for _ in range(3):
            other.send([ones()], output_bytes=256)
        for _ in range(3):
            other.expect(BatchAnswer)
        assert census(link)[0] == before[0] + 3
        other.socket.send(AdvanceBatch(1))
    after = census(link)
    while after[0] != before[0]:  # the worker has still to read that it is gone
        after = census(link)
    assert after[0] == before[0]


@pytest.mark.parametrize(
    ("do", "reason"), [("raise", "MODEL_ERROR"), ("shape", "MODEL_OUTPUT_INVALID")]
)
def test_one_that_fails_fails_alone(link: GatewayEnd, do: str, reason: str) -> None:
    """After its answers so far, without internals; it is over, and the others are not."""
    before = census(link)
    other = link.send([ones()], output_bytes=256).batch
    link.expect(BatchAnswer)
    batch = link.send([ones()], parameters={"do": do, "times": 1}, output_bytes=256).batch
    link.expect(BatchAnswer)
    link.socket.send(AdvanceBatch(batch))
    failed = link.expect(BatchFailed)
    assert (failed.batch, failed.fault.reason) == (batch, reason)
    assert "secret" not in failed.fault.message
    link.socket.send(AdvanceBatch(other))
    assert link.expect(BatchAnswer).batch == other
    link.socket.send(CloseBatch(other))
    assert link.expect(BatchDone).batch == other
    assert census(link)[0] == before[0]


def test_one_that_does_not_close_well_is_over_nevertheless(link: GatewayEnd) -> None:
    """What its `finally` raises is for the log."""
    batch = link.send([ones()], parameters={"do": "untidy"}).batch
    link.expect(BatchAnswer)
    link.socket.send(CloseBatch(batch))
    assert link.expect(BatchDone).batch == batch


def test_an_answer_that_does_not_fit_waits_for_room(started: tuple[WorkerProcess, Loaded]) -> None:
    """And those after it have the new room as well."""
    with started[0].open_link() as link:
        parameters: dict[str, ParameterValue] = {"do": "large", "times": 0}
        batch = link.send([ones(7)], output_bytes=64, parameters=parameters).batch
        needed = link.expect(OutputOverflow).nbytes
        room = link.arena.allocate(needed)
        assert room is not None
        link.socket.send(GrantOutput(batch, 1, room, needed))
        (slot,) = link.expect(BatchAnswer).outputs
        assert (slot.offset, slot.nbytes) == (room, 4 << 16)
        link.socket.send(AdvanceBatch(batch))
        (slot,) = link.expect(BatchAnswer).outputs
        assert (slot.offset, link.read(slot).tolist()) == (room, [7])


def test_a_worker_that_is_stopped_closes_its_generators(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Their cleaning up is done before it ends."""
    folder = programs.code(
        tmp_path_factory.mktemp("stopped"),
        MODEL.replace("self.ended += 1", "(self.folder / 'ended').touch()"),
    )
    with WorkerProcess() as worker:
        worker.load(source(str(folder)), warm_up=False)
        with worker.open_link() as link:
            link.send([ones()])
            link.expect(BatchAnswer)
            worker.__exit__(None, None, None)
    assert (folder / "ended").exists()
