"""How much room a lane asks for its outputs."""

from __future__ import annotations

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.wire.signature import Axis, TensorSpec

_INPUT = (LaneInput("FP32", (3,), 12),)


def test_known_shapes_need_exactly_their_bytes() -> None:
    """Outputs whose dimensions the inputs tell are placed without a guess, each aligned."""
    outputs = (
        TensorSpec("y", "FP32", (Axis("batch"), Axis("n"))),
        TensorSpec("label", "INT64", (Axis("batch"),)),
    )
    on = Lane(_INPUT, 4, outputs, {"n": 3})
    assert on.output_nbytes(2, 24) == 64 + 64
    assert on.output_nbytes(10, 120) == 128 + 128
    assert Lane(_INPUT, 0, (TensorSpec("y", "FP64", (2, 8)),)).output_nbytes(1, 12) == 128


def test_unknown_shapes_are_guessed_and_learnt() -> None:
    """At first as large as the inputs and some more; later what was seen, per row."""
    for output in (
        TensorSpec("y", "BYTES", (Axis("batch"),)),
        TensorSpec("y", "FP32", None),
        TensorSpec("y", "FP32", (Axis("batch"), Axis("unknown"))),
    ):
        on = Lane(_INPUT, 4, (output,), {"n": 3})
        assert on.output_nbytes(1, 10_000) >= 10_000
        on.observe_output(2, 200_000)
        assert on.output_nbytes(4, 10) >= 400_000
        on.observe_output(2, 2)
        assert on.output_nbytes(4, 10) >= 400_000, "a small answer made it forget the large one"


def test_parameters_make_a_lane_of_their_own() -> None:
    """It differs in nothing else."""
    on = Lane(_INPUT, 4, (TensorSpec("y", "FP32", (Axis("batch"), 3)),))
    other = on.with_parameters({"k": 1})
    assert other is not on
    assert (other.parameters, on.parameters) == ({"k": 1}, None)
    assert (other.inputs, other.max_rows) == (on.inputs, on.max_rows)
    assert other.output_nbytes(4, 0) == on.output_nbytes(4, 0)
    assert on.batches
    assert not Lane(_INPUT, 0).batches
