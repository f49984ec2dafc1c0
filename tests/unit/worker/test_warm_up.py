"""Runs on made-up inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from inferd.wire.dtypes import ANY
from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader.loaded import Answers, Execute, LoadedModel, Parameters
from inferd.worker.model import Value
from inferd.worker.warming.samples import sample_inputs
from inferd.worker.warming.warm_up import ladder, warm_up

CPU = torch.device("cpu")
X = TensorSpec("x", "FP32", (Axis("batch", 1, 6), Axis("s", 3, 20), 2))
Y = TensorSpec("y", "FP32", (Axis("batch", 1, 6),))


def model(execute: Execute, platform: str = "pytorch_export") -> LoadedModel:
    """A model that does what `execute` does."""
    return LoadedModel(
        name="m",
        platform=platform,
        signature=Signature((X,), (Y,), 6),
        takes_parameters=False,
        execute=execute,
        usual_sizes={"s": 4},
    )


@pytest.mark.parametrize(
    ("largest", "sizes"), [(0, [1]), (1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_the_ladder_ends_at_the_largest_batch(largest: int, sizes: list[int]) -> None:
    """Every power of two is run once, and so is the largest batch; without a batch, once."""
    assert ladder(largest) == sizes


def test_every_size_of_the_ladder_is_run() -> None:
    """The model sees batches of 1, 2, 4 and 6 rows, with the usual size in its free dimension."""
    seen = []

    def execute(inputs: Sequence[Value | None], _: Parameters) -> list[Value]:
        assert isinstance(inputs[0], torch.Tensor)
        seen.append(tuple(inputs[0].shape))
        return [inputs[0][:, 0, 0]]

    warm_up(model(execute), CPU)
    assert seen == [(1, 4, 2), (2, 4, 2), (4, 4, 2), (6, 4, 2)]


def failing(error: BaseException) -> Execute:
    """A model that runs one row and fails on more."""

    def execute(inputs: Sequence[Value | None], _: Parameters) -> list[Value]:
        assert isinstance(inputs[0], torch.Tensor)
        if len(inputs[0]) > 1:
            raise error
        return [inputs[0][:, 0, 0]]

    return execute


def test_an_exported_program_that_cannot_run_is_not_served() -> None:
    """Better listed with its reason than failing every request."""
    with pytest.raises(LoadFailed, match="failed on a batch of 2 rows: no such operator"):
        warm_up(model(failing(RuntimeError("no such operator"))), CPU)


def test_memory_that_runs_out_is_told_with_its_remedy() -> None:
    """The batch size is what the operator can change."""
    with pytest.raises(LoadFailed, match="ran out while warming up with 2 rows; lower max_batch"):
        warm_up(model(failing(MemoryError()), "pytorch_code"), CPU)


def test_own_code_may_refuse_made_up_inputs() -> None:
    """It may know better what it is given than we do."""
    warm_up(model(failing(ValueError("not a face")), "pytorch_code"), CPU)


def test_an_answer_that_does_not_fit_is_found_before_serving() -> None:
    """A wrong declaration shows when the model loads, not with the first request."""
    with pytest.raises(LoadFailed, match=r"'y' as FP32 \[1, 1\]"):
        warm_up(model(lambda _, __: [torch.zeros(1, 1)], "pytorch_code"), CPU)


def test_samples_fit_their_signature() -> None:
    """Sizes stay within their ranges; ids are zero; texts are empty; any shape gets some shape."""
    signature = Signature(
        (
            TensorSpec("ids", "INT64", (Axis("b"), Axis("n", 30))),
            TensorSpec("text", "BYTES", (Axis("b"),)),
            TensorSpec("any", ANY, None),
        ),
        (),
        16,
    )
    values = sample_inputs(signature, {}, CPU, rows=3)
    assert values is not None
    ids, text, free = values
    assert isinstance(ids, torch.Tensor)
    assert (ids.dtype, tuple(ids.shape), ids.any().item()) == (torch.int64, (3, 30), False)
    assert isinstance(text, np.ndarray)
    assert text.tolist() == [b"", b"", b""]
    assert isinstance(free, torch.Tensor)
    assert len(free) == 3


def test_dimensions_that_hang_together_are_left_to_the_program() -> None:
    """A size for 2*n cannot be made up here."""
    signature = Signature((TensorSpec("x", "FP32", (Axis("2*n", 2, 8),)),), ())
    assert sample_inputs(signature, {}, CPU) is None


def _silent(inputs: Sequence[Value | None], parameters: Parameters) -> Answers:
    """Yields nothing."""
    yield from ()
    return None


def test_a_model_that_yields_may_have_no_answer_to_made_up_inputs() -> None:
    """Only an answer that is there has to fit the signature; an ordinary model's has to be there."""
    silent = replace(
        model(lambda _, __: ()),
        signature=Signature((X,), (Y,), 0),
        generate=_silent,
    )
    assert warm_up(silent, CPU)
    with pytest.raises(LoadFailed, match="returned 0 outputs"):
        warm_up(replace(silent, generate=None), CPU)
