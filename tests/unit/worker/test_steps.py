"""Batches of more rows than the model takes at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from inferd.core.link.messages import RunBatch, SlotTensor
from inferd.wire.errors import OutputInvalid
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader.loaded import Execute, LoadedModel, Parameters
from inferd.worker.model import Value
from inferd.worker.runner.steps import Steps

BATCH = Axis("batch", 1, 4)
LEFT_OUT = TensorSpec("z", "FP32", (BATCH, 2), optional=True)
NUMBERS = Signature(
    (TensorSpec("x", "FP32", (BATCH, 2)), LEFT_OUT),
    (TensorSpec("y", "FP32", (BATCH, Axis("n"))),),
    4,
)
TEXT = Signature(
    (TensorSpec("x", "BYTES", (BATCH,)), LEFT_OUT), (TensorSpec("y", "BYTES", (BATCH,)),), 4
)


def steps(execute: Execute, signature: Signature = NUMBERS) -> Steps:
    """A model of this function."""
    return Steps(LoadedModel("m", "test", signature, takes_parameters=True, execute=execute))


def batch(rows: int, step: int, datatype: str = "FP32") -> RunBatch:
    """A batch of one input of two columns."""
    shape = (rows, 2) if datatype == "FP32" else (rows,)
    return RunBatch(1, 1, (SlotTensor(datatype, shape, 0, 0), None), 0, 0, {"a": 1}, step)


def test_the_model_sees_so_many_rows_at_a_time() -> None:
    """The answers are those of all rows, in their order, as without steps; parameters come along."""
    seen: list[tuple[int, Parameters]] = []

    def double(inputs: Sequence[Value | None], parameters: Parameters) -> Sequence[Value]:
        (x, absent) = inputs
        assert isinstance(x, torch.Tensor)
        assert absent is None
        seen.append((len(x), parameters))
        return [2 * x]

    x = torch.arange(20.0).reshape(10, 2)
    (stepped,) = steps(double).run(batch(10, 4), [x, None])
    (whole,) = steps(double).run(batch(10, 0), [x, None])
    assert seen == [(4, {"a": 1}), (4, {"a": 1}), (2, {"a": 1}), (10, {"a": 1})]
    assert isinstance(stepped, torch.Tensor)
    assert isinstance(whole, torch.Tensor)
    torch.testing.assert_close(stepped, 2 * x)
    torch.testing.assert_close(whole, 2 * x)


def test_text_is_joined_too() -> None:
    """BYTES are arrays of objects, not tensors."""
    x = np.array([b"a", b"b", b"c"], dtype=np.object_)

    def same(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        assert inputs[0] is not None
        return [inputs[0]]

    (y,) = steps(same, TEXT).run(batch(3, 2, "BYTES"), [x, None])
    assert isinstance(y, np.ndarray)
    assert y.tolist() == [b"a", b"b", b"c"]


def test_each_step_has_to_fit_the_signature() -> None:
    """One row short in one step is not made up for by another."""

    def off(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        (x, _absent) = inputs
        assert isinstance(x, torch.Tensor)
        return [x[:1] if len(x) == 4 else x.repeat(4, 1)]

    with pytest.raises(OutputInvalid, match="the batch has 4 rows"):
        steps(off).run(batch(5, 4), [torch.zeros(5, 2), None])


def test_rows_of_different_shapes_make_no_answer() -> None:
    """A free dimension may differ between batches, not within a request."""

    def widening(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        (x, _absent) = inputs
        assert isinstance(x, torch.Tensor)
        return [x.new_zeros(len(x), len(x))]

    with pytest.raises(OutputInvalid, match="rows of different shapes"):
        steps(widening).run(batch(5, 4), [torch.zeros(5, 2), None])


def test_a_model_may_answer_in_the_same_memory_every_time() -> None:
    """Earlier answers are not what later ones overwrote."""
    memory = torch.zeros(4, 2)

    def execute(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        (x, _absent) = inputs
        assert isinstance(x, torch.Tensor)
        return [torch.mul(x, 2, out=memory[: len(x)])]

    x = torch.arange(20.0).reshape(10, 2)
    (y,) = steps(execute).run(batch(10, 4), [x, None])
    assert isinstance(y, torch.Tensor)
    torch.testing.assert_close(y, 2 * x)
