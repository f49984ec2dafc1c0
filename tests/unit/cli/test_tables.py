"""Outputs and signatures as text."""

from __future__ import annotations

import numpy as np

from inferd.server.cli.tables import output_lines, signature_lines
from inferd.wire.signature import Axis, Signature, TensorSpec


def test_class_scores_show_the_largest_first() -> None:
    """A float matrix shows the top five indices and values of the first rows."""
    array = np.linspace(0, 1, 7 * 6, dtype=np.float32).reshape(7, 6)
    array[0] = [0.1, np.nan, 0.7, 0.05, 0.05, 0.0]
    lines = output_lines("scores", "FP32", array)
    assert lines[0] == "scores  FP32 [7, 6]"
    assert lines[1] == "  row 0  2: 0.7  0: 0.1  3: 0.05  4: 0.05  5: 0  …"
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == "  … 2 more rows"


def test_other_outputs_show_their_values() -> None:
    """Everything else is shown as numpy does, text as text, and never at full length."""
    assert output_lines("label", "INT64", np.array([3, 7])) == ["label  INT64 [2]", "  [3 7]"]
    text = np.array([b"a\xff", "é".encode()], object)
    assert output_lines("t", "BYTES", text)[1] == r"  ['a\\xff' 'é']"
    assert len("".join(output_lines("big", "INT64", np.arange(10**6)))) < 100
    assert output_lines("s", "FP32", np.array(1.5)) == ["s  FP32 []", "  1.5"]
    assert output_lines("e", "FP32", np.zeros((0, 3)))[0] == "e  FP32 [0, 3]"


def test_signatures_are_columns() -> None:
    """Names, datatypes and shapes stand one below the other, with the bounds that are known."""
    signature = Signature(
        (
            TensorSpec("image", "FP32", (Axis("batch", 1, 64), 8)),
            TensorSpec("n", "INT64", (Axis("n.0"),), optional=True),
        ),
        (TensorSpec("all", "ANY", None),),
        64,
    )
    assert signature_lines(signature) == [
        "input   image  FP32   [batch 1..64, 8]",
        "input   n      INT64  [any]             optional",
        "output  all    ANY    any shape",
        "batches of up to 64 rows",
    ]
    assert signature_lines(Signature((), ()))[-1] == "no batching"
