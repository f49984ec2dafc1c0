"""One worker process with a model in own code that can misbehave in every way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from inferd.core.link.messages import BatchDone, BatchFailed, Loaded, ModelSource
from inferd.wire.dtypes import ANY, DATATYPES
from inferd.wire.signature import TensorSpec
from support import programs
from support.worker_process import Array, GatewayEnd, WorkerProcess

MODEL = '''
import os
import sys
import numpy as np
import torch
from inferd.worker.model import Model

class Fickle(Model):
    """Identity; the parameter `do` asks for something else."""

    def predict(self, input, hint=None, *, parameters):
        do = parameters.get("do", "answer")
        if do == "raise":
            raise ValueError("/secret/folder/model.py knows too much")
        if do == "exit":
            sys.exit(3)
        if do == "interrupt":
            raise KeyboardInterrupt
        if do == "memory":
            raise MemoryError
        if do == "huge":
            return torch.empty(1 << 55, dtype=torch.uint8)
        if do == "rows":
            return input[:-1]
        if do == "names":
            return {"wrong": input}
        if do == "hint":
            return torch.tensor([hint is not None])
        if do == "environment":
            names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
            facts = [os.environ[name] for name in names]
            facts += [torch.get_num_threads(), torch.get_num_interop_threads()]
            facts += [torch.is_inference_mode_enabled()]
            return np.array([" ".join(map(str, facts))], dtype=object)
        if do == "flip":
            return input.T
        return input
'''


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WorkerProcess, Loaded]]:
    """The worker of all tests here, and what it reported."""
    folder = programs.code(tmp_path_factory.mktemp("fickle"), MODEL)
    source = ModelSource(
        "fickle",
        1,
        "code",
        str(folder),
        (TensorSpec("input", ANY, None), TensorSpec("hint", "FP32", None, optional=True)),
        (TensorSpec("output", ANY, None),),
        0,
    )
    with WorkerProcess() as worker:
        yield worker, worker.loaded(source)
        assert worker.process.poll() is None


@pytest.fixture
def link(started: tuple[WorkerProcess, Loaded]) -> Iterator[GatewayEnd]:
    """A gateway of this test's own."""
    with started[0].open_link() as link:
        yield link


def values(datatype: str) -> Array:
    """Some elements of a datatype; bit patterns for BF16."""
    if datatype == "BYTES":
        return np.array([[b"", b"a\0b"], [b"\xff" * 100, b"d"]], dtype=object)
    numbers = np.array([[0, 1, 1], [1, 0, 1]])
    return numbers.astype(DATATYPES[datatype].numpy)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_goes_in_and_out(link: GatewayEnd, datatype: str) -> None:
    """A model that takes anything gets the datatype that arrived, and may answer with it."""
    sent = values(datatype)
    link.send([sent, None], datatypes=[datatype])
    (slot,) = link.expect(BatchDone).outputs
    assert (slot.datatype, slot.shape) == (datatype, sent.shape)
    answer = link.read(slot)
    assert answer.tolist() == sent.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 2, 3, 4, 5)])
def test_every_shape_goes_in_and_out(link: GatewayEnd, shape: tuple[int, ...]) -> None:
    """Scalars and tensors without elements too."""
    (answer,) = link.run(np.full(shape, 2.5, np.float32), None)
    assert answer.shape == shape
    assert answer.tolist() == np.full(shape, 2.5).tolist()


def test_not_a_number_is_a_value(link: GatewayEnd) -> None:
    """NaN and infinities pass unchanged, bit for bit."""
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float64)
    (answer,) = link.run(odd, None)
    assert answer.tobytes() == odd.tobytes()


def test_strided_outputs_are_written_row_by_row(link: GatewayEnd) -> None:
    """The protocol knows row-major tensors only."""
    sent = np.arange(6, dtype=np.int64).reshape(2, 3)
    link.send([sent, None], parameters={"do": "flip"})
    (slot,) = link.expect(BatchDone).outputs
    assert link.read(slot).tolist() == sent.T.tolist()


@pytest.mark.parametrize("given", [True, False])
def test_an_optional_input_is_passed_only_if_it_came(link: GatewayEnd, given: bool) -> None:  # noqa: FBT001
    """Left out means not passed, so that the model's own default counts."""
    hint = np.zeros(1, np.float32) if given else None
    link.send([np.zeros(1, np.float32), hint], parameters={"do": "hint"})
    (slot,) = link.expect(BatchDone).outputs
    assert link.read(slot).tolist() == [given]


def test_parameters_are_taken(started: tuple[WorkerProcess, Loaded]) -> None:
    """The gateway has to know, since it may not batch requests with different parameters."""
    assert started[1].takes_parameters
    assert started[1].platform == "pytorch_code"


def test_the_model_runs_pinned_and_under_inference_mode(link: GatewayEnd) -> None:
    """No GPU for a CPU worker, one thread as ordered, gradients off."""
    link.send([np.zeros(1, np.float32), None], parameters={"do": "environment"})
    (slot,) = link.expect(BatchDone).outputs
    assert link.read(slot).tolist() == [b" 1 1 1 1 True"]


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("raise", "MODEL_ERROR"),
        ("exit", "MODEL_ERROR"),
        ("interrupt", "MODEL_ERROR"),
        ("memory", "MODEL_OOM"),
        ("huge", "MODEL_OOM"),
        ("names", "MODEL_OUTPUT_INVALID"),
    ],
)
def test_a_failing_batch_fails_alone(link: GatewayEnd, do: str, reason: str) -> None:
    """Whatever the model raises, the next batch is served, and no internals reach the caller."""
    batch = link.send([np.zeros((2, 2), np.float32), None], parameters={"do": do})
    failed = link.expect(BatchFailed)
    assert (failed.batch, failed.fault.reason) == (batch.batch, reason)
    for internal in ("secret", "Error", "Traceback", "/", ".py"):
        assert internal not in failed.fault.message
    (answer,) = link.run(np.ones(1, np.float32), None)
    assert answer.tolist() == [1.0]
