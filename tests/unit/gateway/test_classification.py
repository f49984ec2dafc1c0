"""The largest values of a row as texts."""

from __future__ import annotations

import numpy as np
import pytest

from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.admission.classification import MOST_CLASSES, classify
from inferd.wire.errors import InvalidRequest, OutputInvalid
from inferd.wire.requests import InferMessage
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import request


def texts(values: object, count: int, dtype: str = "f4", labels: tuple[str, ...] = ()) -> list[str]:
    """What is said of one row."""
    (row,) = classify(np.array([values], dtype), count, labels)
    return [text.decode() for text in row]


def test_largest_first_with_six_decimals() -> None:
    """As C++ writes floating-point values, single precision as it is in double."""
    assert texts([0.1, 0.7, 0.2], 2) == ["0.700000:1", "0.200000:2"]
    assert texts([1e10, -0.5], 2) == ["10000000000.000000:0", "-0.500000:1"]
    assert texts([0.1], 1, "f8") == ["0.100000:0"]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u8", "i8"])
def test_whole_numbers_have_no_decimals(dtype: str) -> None:
    """Of every width, the largest of it too."""
    top = int(np.iinfo(dtype).max)
    assert texts([1, top, 0], 3, dtype) == [f"{top}:1", "1:0", "0:2"]


def test_equal_values_keep_their_order_and_no_numbers_are_last() -> None:
    """Whoever asks twice is told the same."""
    assert texts([1, 2, 2, 1], 4) == ["2.000000:1", "2.000000:2", "1.000000:0", "1.000000:3"]
    assert texts([np.nan, 1, np.inf], 3) == ["inf:2", "1.000000:1", "nan:0"]


def test_more_classes_than_values_are_capped() -> None:
    """Whoever asks for a thousand of three gets three."""
    assert len(texts([1, 2, 3], 1000)) == 3
    assert texts([], 3) == []


def test_labels_follow_where_there_are_any() -> None:
    """Classes beyond the labels have none."""
    assert texts([1, 3, 2], 3, "i4", ("cat", "dög")) == ["3:1:dög", "2:2", "1:0:cat"]


_B = Axis("batch", 1)
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (_B, 2)),),
    (
        TensorSpec("y", "FP32", (_B, 3)),
        TensorSpec("half", "BF16", (_B, 2)),
        TensorSpec("words", "BYTES", (_B,)),
        TensorSpec("free", "INT32", (_B, Axis("n"))),
    ),
    max_batch_size=4,
)


def message(*outputs: str, rows: int = 2) -> InferMessage:
    """A request for these outputs."""
    sent = request("m", ("x", "FP32", (rows, 2)), outputs=outputs)
    return InferMessage(sent.SerializeToString())


def admission() -> Admission:
    """Checks requests for the signature above."""
    return Admission("m", 1, SIGNATURE, max_tensor_bytes=1 << 20, labels={"half": ("no", "yes")})


def test_outputs_come_in_the_order_asked_for_classes_or_not() -> None:
    """Each has its own number of classes; what has none comes as it is."""
    from inferd.protos.oip_pb2 import ModelInferResponse
    from inferd.wire.tensors import decode_bytes

    plan = admission().plan(message("half", "y"), (1, 0))
    y = np.arange(6, dtype="<f4").tobytes()
    half = (np.array([0.5, 2, -1, -2], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    layout = (("FP32", (3,)), ("BF16", (2,)), ("BYTES", ()), ("INT32", (0,)))
    answer = ModelInferResponse.FromString(plan.answer(layout, [y, half, b"", b""], "7"))
    assert answer.id == "7"
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("half", "BYTES", [2, 1]),
        ("y", "FP32", [2, 3]),
    ]
    assert decode_bytes(answer.raw_output_contents[0], 2) == [b"2.000000:1:yes", b"-1.000000:0:no"]
    assert answer.raw_output_contents[1] == y


def test_a_plan_with_classes_is_another_one() -> None:
    """Requests that differ in that alone are not answered alike."""
    one = admission()
    assert one.plan(message("y"), (1,)) is not one.plan(message("y"))
    assert one.plan(message("y"), (1,)) is not one.plan(message("y"), (2,))
    assert one.plan(message("y"), (1,)) is one.plan(message("y"), (1,))


def test_texts_have_no_classes() -> None:
    """What is no number is refused before anything is queued."""
    with pytest.raises(InvalidRequest, match="unsupported type 'BYTES'") as caught:
        admission().plan(message("y", "words"), (1, 1))
    assert caught.value.field == "outputs[1].parameters[classification]"


def test_the_texts_of_one_answer_are_bounded() -> None:
    """By what there can be where the shape tells, else by what was asked for."""
    one = admission()
    one.plan(message("y", rows=16), (1 << 40,))
    one.plan(message("free", rows=2), (MOST_CLASSES // 2,))
    with pytest.raises(InvalidRequest, match="too many"):
        one.plan(message("free", rows=2), (1 + MOST_CLASSES // 2,))


def test_an_output_of_another_datatype_than_declared_fails() -> None:
    """The model's fault, not the caller's."""
    plan = admission().plan(message("y"), (1,))
    layout = (("BOOL", (3,)), ("BF16", (2,)), ("BYTES", ()), ("INT32", (0,)))
    with pytest.raises(OutputInvalid):
        plan.answer(layout, [bytes(6), b"", b"", b""], "")
    with pytest.raises(OutputInvalid):
        plan.answer((("FP32", (3,)),), [bytes(24)], "")
