"""What is read from an exported program."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader.batch_axis import with_batch
from inferd.worker.loader.signature import signature_of
from support import programs


def batched(program: ExportedProgram, declared: int | None = None) -> Signature:
    """The signature as the loader makes it."""
    found = signature_of(program)
    return with_batch(found.signature, declared, guarded=not found.self_evident)


BATCH = Axis("batch", 1, 64)


def test_a_single_output_is_called_output() -> None:
    """A model that returns one tensor has one output by the agreed name, and its rows are a batch."""
    assert batched(programs.linear()) == Signature(
        (TensorSpec("x", "FP32", (BATCH, 4)),), (TensorSpec("output", "FP32", (BATCH, 4)),), 64
    )


def test_a_tuple_numbers_its_outputs() -> None:
    """Outputs without names are told apart by position; each has its own datatype."""
    assert batched(programs.pair()).outputs == (
        TensorSpec("output_0", "FP32", (BATCH, 4)),
        TensorSpec("output_1", "BOOL", (BATCH, 4)),
    )


def test_two_inputs_share_a_sequence_and_a_dictionary_names_outputs() -> None:
    """A dimension that two inputs share has one symbol, and dictionary keys are output names."""
    signature = batched(programs.summary())
    ids, mask = signature.inputs
    assert (ids.name, ids.datatype) == ("ids", "INT64")
    assert (mask.name, mask.datatype) == ("mask", "FP32")
    assert ids.dims == mask.dims
    assert ids.dims is not None
    sequence = ids.dims[1]
    assert isinstance(sequence, Axis)
    assert (sequence.min, sequence.max) == (1, 128)
    assert signature.outputs == (
        TensorSpec("masked", "FP32", (BATCH, sequence)),
        TensorSpec("sum", "FP32", (BATCH,)),
    )
    assert signature.max_batch_size == 64


class Nested(nn.Module):
    """Containers in, containers out, a constant and an optional argument."""

    def forward(
        self,
        xs: list[torch.Tensor],
        scale: int,
        extra: torch.Tensor | None = None,
        *,
        named: dict[str, torch.Tensor],
    ) -> tuple[torch.Tensor, dict[str, object], None]:
        """Something that uses each of them."""
        return xs[0] * scale, {"q": xs[1], "z": [named["a"], xs[0] + xs[1]]}, None


def test_nested_names_are_joined_and_constants_are_left_out() -> None:
    """Tensors inside containers get their paths as names; baked-in arguments are no inputs."""
    x = programs.rows()
    program = export(Nested(), ([x, x + 1], 2), kwargs={"named": {"a": x + 2}})
    found = signature_of(program)
    assert [spec.name for spec in found.signature.inputs] == ["xs_0", "xs_1", "named_a"]
    assert [spec.name for spec in found.signature.outputs] == [
        "output_0",
        "output_1_q",
        "output_1_z_0",
        "output_1_z_1",
    ]
    assert found.constants == {2: 2}
    assert found.results == (0, 1, 2, 3)


def test_a_static_program_does_not_batch() -> None:
    """Without a free first dimension rows of two callers cannot go together."""
    program = export(programs.Linear().eval(), (programs.rows(),))
    assert batched(program) == Signature(
        (TensorSpec("x", "FP32", (2, 4)),), (TensorSpec("output", "FP32", (2, 4)),), 0
    )


class Similarity(nn.Module):
    """Compares every row with every other."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows, and rows by rows."""
        return x + 1, x @ x.T


class Total(nn.Module):
    """Adds rows up."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One row."""
        return x.sum(0)


@pytest.mark.parametrize("module", [Similarity(), Total()], ids=["rows-by-rows", "sum-of-rows"])
def test_rows_that_meet_one_another_are_no_batch(module: nn.Module) -> None:
    """A batch dimension that stands elsewhere too, or is gone, would mix callers."""
    program = export(module, (programs.rows(),), dynamic_shapes={"x": {0: programs.BATCH}})
    assert batched(program).max_batch_size == 0


@pytest.mark.parametrize(
    ("dim", "declared", "rows"),
    [
        (Dim("batch"), None, 32),
        (Dim("batch", max=5000), None, 32),
        (Dim("batch", max=1024), None, 1024),
        (Dim("batch", max=64), 16, 16),
        (Dim("batch"), 100, 100),
        (Dim("batch", max=64), 0, 0),
        (Dim("batch", min=3, max=64), None, 0),
    ],
    ids=["unbounded", "huge", "bounded", "smaller", "declared", "off", "not-from-one"],
)
def test_rows_of_a_batch(dim: object, declared: int | None, rows: int) -> None:
    """The program's bound counts, unless it has none or is huge; the operator may ask for less."""
    program = export(programs.Linear().eval(), (programs.rows(4),), dynamic_shapes={"x": {0: dim}})
    assert batched(program, declared).max_batch_size == rows


def test_more_rows_than_exported_for_are_refused() -> None:
    """An operator's max_batch_size beyond the program's range would fail at run time."""
    with pytest.raises(LoadFailed, match=r"= 65 is too large.*at most 64 rows"):
        batched(programs.linear(), 65)


def test_a_batch_cannot_be_declared_into_a_static_program() -> None:
    """The reason says what the program lacks."""
    program = export(programs.Linear().eval(), (programs.rows(),))
    with pytest.raises(LoadFailed, match=r"max_batch_size = 8 is not possible.*not all the same"):
        batched(program, 8)


class Triples(nn.Module):
    """Decides by the number of rows while it is exported."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Something that depends on it."""
        return x + 1 if x.shape[0] % 3 != 0 else x - 1


def test_a_program_with_further_conditions_is_guarded_and_does_not_batch() -> None:
    """Rows that are fine one by one may break the condition together."""
    program = export(Triples(), (programs.rows(),), dynamic_shapes={"x": {0: Dim.AUTO}})
    assert not signature_of(program).self_evident
    assert batched(program).max_batch_size == 0


class Concatenation(nn.Module):
    """Takes inputs of different lengths."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """`x`, then `y`."""
        return torch.cat([x, y])


def test_a_derived_dimension_is_guarded() -> None:
    """That one input is twice as long as the other cannot be said in a signature; torch checks it."""
    half = Dim("half", min=1, max=8)
    program = export(
        Concatenation(),
        (programs.rows(4), programs.rows()),
        dynamic_shapes={"x": {0: 2 * half}, "y": {0: half}},
    )
    found = signature_of(program)
    assert not found.self_evident
    first, second = (spec.dims[0] for spec in found.signature.inputs if spec.dims is not None)
    assert isinstance(first, Axis)
    assert isinstance(second, Axis)
    assert (first.min, first.max) == (2, 16)
    assert (second.min, second.max) == (1, 8)


class Scaled(nn.Module):
    """Takes a number."""

    def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
        """`x` times the number."""
        return x * factor


class WithNumber(nn.Module):
    """Returns a number."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        """A tensor and a number."""
        return x + 1, 3


class Complex(nn.Module):
    """Returns complex numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pairs as complex numbers."""
        return torch.view_as_complex(x.reshape(-1, 2))


class Colliding(nn.Module):
    """Two outputs whose paths join to the same name."""

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        """Two tensors."""
        return {"a_0": x + 1, "a": [x + 2]}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            lambda x: export(Scaled(), (x, 3), dynamic_shapes={"x": None, "factor": Dim.DYNAMIC}),
            "input 'factor' is a number, not a tensor",
        ),
        (lambda x: export(WithNumber(), (x,)), "'output_1' is not a tensor"),
        (lambda x: export(Complex(), (x,)), "output 'output' has dtype complex64"),
        (lambda x: export(Colliding(), (x,)), "two outputs would be called 'a_0'"),
    ],
    ids=["number-in", "number-out", "complex", "same-name"],
)
def test_what_the_protocol_cannot_carry_is_refused(program: object, reason: str) -> None:
    """The reason names the tensor and says what is wrong with it."""
    with pytest.raises(LoadFailed, match=reason):
        signature_of(program(programs.rows()))  # type: ignore[operator] # a lambda of the table
