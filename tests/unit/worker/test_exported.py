"""Exported programs, loaded and called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

from inferd.core.link.messages import ModelSource
from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, TensorSpec
from inferd.worker.loader import load_model
from inferd.worker.loader.loaded import LoadedModel
from support import programs

CPU = torch.device("cpu")


def load(
    program: ExportedProgram,
    folder: Path,
    *,
    max_batch_size: int | None = None,
    inputs: tuple[TensorSpec, ...] = (),
) -> LoadedModel:
    """The program, saved and loaded back."""
    file = programs.saved(program, folder)
    source = ModelSource("m", 1, "exported", str(file), inputs, (), max_batch_size)
    return load_model(source, CPU)


def run(model: LoadedModel, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Its outputs."""
    with torch.inference_mode():
        values = model.execute(inputs, None)
    assert all(isinstance(value, torch.Tensor) for value in values)
    return [value for value in values if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_the_short_way_answers_like_the_module(tmp_path: Path, count: int) -> None:
    """Leaving out torch's checks and containers changes no number."""
    model = load(programs.linear(), tmp_path)
    x = programs.rows(count)
    (answer,) = run(model, x)
    assert torch.equal(answer, programs.Linear()(x))
    assert model.platform == "pytorch_export"
    assert not model.takes_parameters


def test_outputs_follow_the_signature(tmp_path: Path) -> None:
    """Several inputs and outputs keep their order."""
    model = load(programs.summary(), tmp_path)
    ids, mask = torch.tensor([[1, 2, 3]]), torch.tensor([[1.0, 0.0, 1.0]])
    masked, total = run(model, ids, mask)
    assert [spec.name for spec in model.signature.outputs] == ["masked", "sum"]
    assert masked.tolist() == [[1.0, 0.0, 3.0]]
    assert total.tolist() == [4.0]


class WithConstants(nn.Module):
    """An argument in the middle that is baked in, and an output that is none."""

    def forward(
        self, x: torch.Tensor, factor: int, y: torch.Tensor
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """None, three times `x` if so exported, and `y`."""
        return None, x * factor, y


def test_constants_go_in_and_missing_outputs_stay_out(tmp_path: Path) -> None:
    """Arguments that were baked in are not asked for; a None among the outputs is no output."""
    x = programs.rows()
    model = load(export(WithConstants(), (x, 3, x + 1)), tmp_path)
    tripled, same = run(model, x, x - 1)
    assert torch.equal(tripled, 3 * x)
    assert torch.equal(same, x - 1)


class Counting(nn.Module):
    """Changes a buffer of its own."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """How often it was called, in the shape of `x`."""
        self.calls.add_(1)
        return x * 0 + self.calls


def test_state_that_a_program_changes_is_kept(tmp_path: Path) -> None:
    """A buffer written by one call is seen by the next."""
    model = load(export(Counting(), (programs.rows(),)), tmp_path)
    x = programs.rows()
    assert [run(model, x)[0].unique().item() for _ in range(3)] == [1.0, 2.0, 3.0]


class Branching(nn.Module):
    """Control flow that depends on data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One step away from zero."""
        answer: torch.Tensor = torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))
        return answer


def test_control_flow_inside_a_program_works(tmp_path: Path) -> None:
    """Subgraphs are not mistaken for weights."""
    model = load(export(Branching(), (programs.rows(),)), tmp_path)
    x = programs.rows() + 1
    assert torch.equal(run(model, x)[0], x + 1)
    assert torch.equal(run(model, -x)[0], -x - 1)


class Concatenation(nn.Module):
    """Takes inputs of different lengths."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """`x`, then `y`."""
        return torch.cat([x, y])


def test_conditions_that_a_signature_cannot_tell_are_checked(tmp_path: Path) -> None:
    """Sizes that do not go together raise instead of giving a wrong answer."""
    half = Dim("half", min=1, max=8)
    program = export(
        Concatenation(),
        (programs.rows(4), programs.rows()),
        dynamic_shapes={"x": {0: 2 * half}, "y": {0: half}},
    )
    model = load(program, tmp_path)
    assert run(model, programs.rows(6), programs.rows(3))[0].shape == (9, 4)
    with pytest.raises((AssertionError, RuntimeError)):
        run(model, programs.rows(6), programs.rows(2))


class Squeezing(nn.Module):
    """Drops every dimension of size 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` plus one, with fewer dimensions for one row."""
        return x.squeeze() + 1


def test_one_row_is_offered_where_it_works(tmp_path: Path) -> None:
    """Torch writes a minimum of 2 for every automatic dimension; most take one row as well."""
    model = load(programs.linear(Dim.AUTO), tmp_path)
    assert model.signature.inputs[0].dims == (Axis("batch", 1, None), 4)
    assert model.signature.max_batch_size == 32


def test_one_row_is_not_offered_where_it_fails(tmp_path: Path) -> None:
    """A program that drops a dimension of size 1 keeps its minimum of 2, and does not batch."""
    program = export(Squeezing(), (programs.rows(),), dynamic_shapes={"x": {0: Dim.AUTO}})
    model = load(program, tmp_path)
    assert model.signature.inputs[0].dims is not None
    first = model.signature.inputs[0].dims[0]
    assert isinstance(first, Axis)
    assert first.min == 2
    assert model.signature.max_batch_size == 0


def test_usual_sizes_are_those_of_the_example(tmp_path: Path) -> None:
    """Warming up uses sizes that the program is known to run with."""
    model = load(programs.summary(), tmp_path)
    dims = model.signature.inputs[0].dims
    assert dims is not None
    assert isinstance(dims[1], Axis)
    assert model.usual_sizes[dims[1].symbol] == 5


def test_true_declarations_are_accepted(tmp_path: Path) -> None:
    """model.toml may repeat what the program says."""
    declared = (TensorSpec("x", "FP32", (Axis("anything"), 4)),)
    assert load(programs.linear(), tmp_path, inputs=declared).signature.max_batch_size == 64


def test_false_declarations_are_refused(tmp_path: Path) -> None:
    """The reason shows both, so that the wrong line can be found."""
    declared = (TensorSpec("x", "FP32", (Axis("anything"), 5)),)
    with pytest.raises(LoadFailed, match=r"x FP32 \[-1, 5\]; the program has x FP32 \[-1, 4\]"):
        load(programs.linear(), tmp_path, inputs=declared)


def test_a_broken_file_is_refused_without_its_path(tmp_path: Path) -> None:
    """The reason names the file alone: clients see it in the repository index."""
    file = tmp_path / "model.pt2"
    file.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(LoadFailed, match=r"^model\.pt2 could not be read") as failed:
        load_model(ModelSource("m", 1, "exported", str(file)), CPU)
    assert str(tmp_path) not in failed.value.message
    assert "\n" not in failed.value.message
