"""Whether a request fits the signature: everything from names, datatypes and shapes alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.admission.plan import Plan
from inferd.wire.errors import InvalidRequest, OutputInvalid
from inferd.wire.requests import InferMessage
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import encode_bytes
from support.calls import request

Head = tuple[str, str, Sequence[int]]

_BATCH = Axis("batch", 1)

BATCHED = Signature(
    (
        TensorSpec("x", "FP32", (_BATCH, 3, Axis("n", 0, 8))),
        TensorSpec("words", "BYTES", (_BATCH, Axis("n", 0, 8)), optional=True),
    ),
    (TensorSpec("y", "FP32", (_BATCH, 3)), TensorSpec("z", "BYTES", (_BATCH,))),
    max_batch_size=4,
)

FREE = Signature(
    (TensorSpec("a", "ANY", None), TensorSpec("b", "ANY", None, optional=True)),
    (TensorSpec("y", "ANY", None),),
    max_batch_size=4,
)


def plan(
    signature: Signature,
    *heads: Head,
    outputs: Sequence[str] = (),
    id: str = "",  # noqa: A002  # the protocol's word
) -> Plan:
    """The plan for inputs of these names, datatypes and shapes."""
    admission = Admission("m", 1, signature, max_tensor_bytes=1 << 20)
    payload = request("m", *heads, outputs=outputs, id=id).SerializeToString()
    return admission.plan(InferMessage(payload))


def refusal(signature: Signature, *heads: Head, **more: Sequence[str]) -> InvalidRequest:
    """Why there is none."""
    with pytest.raises(InvalidRequest) as caught:
        plan(signature, *heads, **more)  # type: ignore[arg-type]  # outputs alone
    return caught.value


X: Head = ("x", "FP32", (2, 3, 5))
WORDS: Head = ("words", "BYTES", (2, 5))


def test_a_request_that_fits_has_rows_and_a_lane() -> None:
    """The batch is cut off the shapes; equal row shapes share a lane whatever their rows."""
    admission = Admission("m", 1, BATCHED, max_tensor_bytes=1 << 20)
    first = admission.plan(InferMessage(request("m", X, WORDS).SerializeToString()))
    assert (first.rows, first.lane.max_rows) == (2, 4)
    shapes = [(each.datatype, each.row_shape) for each in first.lane.inputs if each]
    assert shapes == [("FP32", (3, 5)), ("BYTES", (5,))]
    other = [("words", "BYTES", (9, 5)), ("x", "FP32", (9, 3, 5))]
    second = admission.plan(InferMessage(request("m", *other).SerializeToString()))
    assert second.rows == 9
    assert second.lane is first.lane
    third = admission.plan(InferMessage(request("m", X).SerializeToString()))
    assert third.lane is not first.lane, "an optional input left out is another lane"


@pytest.mark.parametrize(
    ("heads", "field", "says"),
    [
        ([], "inputs", "missing: 'x'"),  # M26
        ([WORDS], "inputs", "missing: 'x'"),  # M27
        ([X, ("xx", "FP32", (2,))], "inputs[1].name", "did you mean 'x'"),  # M28
        ([X, X], "inputs[1]", "already exists"),  # M29
        ([("x", "", (2, 3, 5))], "inputs[0].datatype", "none of 'BOOL'"),  # M33
        ([("x", "FLOAT", (2, 3, 5))], "inputs[0].datatype", "'FLOAT'"),
        ([("x", "fp32", (2, 3, 5))], "inputs[0].datatype", "'fp32'"),
        ([("x", "FP32 ", (2, 3, 5))], "inputs[0].datatype", "'FP32 '"),
        ([("x", "ANY", (2, 3, 5))], "inputs[0].datatype", "'ANY'"),
        ([("x", "FP64", (2, 3, 5))], "inputs[0].datatype", "expects 'FP32'"),  # M34
        ([("x", "FP32", ())], "inputs[0].shape", "expected [-1,3,-1]"),  # M37
        ([("x", "FP32", (3, 5))], "inputs[0].shape", "send [1,3,5]"),  # M38
        ([("x", "FP32", (2, 4, 5))], "inputs[0].shape[1]", "expected [-1,3,-1]"),
        ([("x", "FP32", (2, 3, 9))], "inputs[0].shape[2]", "takes 0 to 8"),
        ([("x", "FP32", (0, 3, 5))], "inputs[0].shape[0]", "at least 1"),
        ([("x", "FP32", (-1, 3, 5))], "inputs[0].shape", "All input dimensions"),  # M39
        ([("x", "FP32", (2**62, 4, 1))], "inputs[0].shape", "exceeds maximum size"),  # M44
        ([("x", "FP32", (2**32, 2**32))], "inputs[0].shape", "exceeds maximum size"),
        ([("x", "FP32", (2**18, 3, 1))], "inputs[0].shape", "exceeds maximum size"),  # M45
        ([X, ("words", "BYTES", (3, 5))], "inputs[1].shape[0]", "must be equal"),  # M49
        ([X, ("words", "BYTES", (2, 6))], "inputs[1].shape[1]", "5 elsewhere"),
        ([X, ("words", "BYTES", (2, 2**60))], "inputs[1].shape", "exceeds maximum size"),
    ],
)
def test_what_does_not_fit_is_named(heads: list[Head], field: str, says: str) -> None:
    """Each misfit is told with the field it lies in, what came and what is expected."""
    error = refusal(BATCHED, *heads)
    assert error.field == field
    assert says in error.message
    assert ("exceeds" in says) == (error.reason == "TENSOR_TOO_LARGE")


def test_long_names_are_not_echoed_whole() -> None:
    """Neither input, output nor datatype: a message quotes at most 64 characters of each."""
    for error in (
        refusal(BATCHED, X, ("n" * 1000, "FP32", ())),
        refusal(BATCHED, ("x", "D" * 1000, ())),
        refusal(BATCHED, X, outputs=["o" * 1000]),
    ):
        assert len(error.message) < 300


def test_free_inputs_take_every_datatype_and_shape() -> None:
    """ANY takes what the protocol knows; a scalar among them is executed alone, whole."""
    assert plan(FREE, ("a", "BF16", (3, 2))).rows == 3
    alone = plan(FREE, ("a", "INT8", ()), ("b", "FP32", (2, 2)))
    assert (alone.rows, alone.lane.max_rows) == (1, 0)
    assert [each.row_shape for each in alone.lane.inputs if each] == [(), (2, 2)]
    alone.arrange([b"\1", bytes(16)])


def test_different_batches_of_free_inputs_are_refused() -> None:
    """Without symbols the batch still has to be the same (M49)."""
    error = refusal(FREE, ("a", "INT8", (2,)), ("b", "INT8", (3,)))
    assert "different batch sizes" in error.message


def test_without_any_input_there_are_no_rows() -> None:
    """A model whose inputs were all left out is executed alone: nothing tells rows apart."""
    optional = Signature(
        (TensorSpec("x", "FP32", (_BATCH,), optional=True),),
        (TensorSpec("y", "FP32", (_BATCH,)),),
        max_batch_size=4,
    )
    assert not plan(optional).lane.batches


def test_rows_without_elements_are_bounded() -> None:
    """They cost no bytes, and a request could have any number of them."""
    assert plan(FREE, ("a", "INT8", (4 * 4096, 0))).rows == 4 * 4096
    error = refusal(FREE, ("a", "INT8", (2**62, 0)))
    assert error.reason == "TENSOR_TOO_LARGE"


def test_requested_outputs_are_selected_in_their_order() -> None:
    """All where none is named; unknown and doubled ones are refused (M74)."""
    assert plan(BATCHED, X).selected is None
    assert plan(BATCHED, X, outputs=["z", "y"]).selected == (1, 0)
    assert refusal(BATCHED, X, outputs=["y", "yy"]).field == "outputs[1].name"
    assert "already exists" in refusal(BATCHED, X, outputs=["y", "y"]).message


@pytest.mark.parametrize("bad", ["i" * 129, "a\nb", "\x1b[31m", "a\0", "ä"])
def test_ids_are_short_and_printable(bad: str) -> None:
    """What is echoed and logged cannot hide in a terminal (M85)."""
    assert plan(BATCHED, X, id="i" * 128).rows == 2
    assert refusal(BATCHED, X, id=bad).field == "id"


def test_known_forms_are_planned_once_and_bounded() -> None:
    """The same form gives the same plan; endless forms do not grow the memory."""
    admission = Admission("m", 1, FREE, max_tensor_bytes=1 << 20)
    message = InferMessage(request("m", ("a", "INT8", (1,))).SerializeToString())
    assert admission.plan(message) is admission.plan(message)
    for n in range(1500):
        admission.plan(InferMessage(request("m", ("a", "INT8", (1, n))).SerializeToString()))
    assert len(admission._plans) <= 1024
    assert len(admission._lanes) <= 1024


def test_parameters_that_only_look_equal_make_different_lanes() -> None:
    """1, 1.0 and True are equal in Python, yet a model sees the difference."""
    admission = Admission("m", 1, BATCHED, max_tensor_bytes=1 << 20)
    on = plan(BATCHED, X).lane
    values: list[bool | float | str] = [1, 1.0, True, "1", 0.0, -0.0, 0, False]
    lanes = [admission.lane_with(on, {"k": value}) for value in values]
    assert len(set(map(id, lanes))) == len(values)
    assert [repr(each.parameters) for each in lanes] == [repr({"k": v}) for v in values]
    assert admission.lane_with(on, {"k": True}) is lanes[2]


@pytest.mark.parametrize("nbytes", [119, 121, 0, 240])
def test_raw_sizes_are_exact(nbytes: int) -> None:
    """A byte more or less is refused with both numbers, at its place in the request (M54)."""
    made = plan(BATCHED, WORDS, X)
    words = encode_bytes([b""] * 10)
    assert made.arrange([words, bytes(120)]) == ([bytes(120), words], 120 + len(words))
    with pytest.raises(InvalidRequest, match=rf"{nbytes} bytes, .* has 120") as caught:
        made.arrange([words, bytes(nbytes)])
    assert caught.value.field == "raw_input_contents[1]"


def test_bool_bytes_are_zero_or_one() -> None:
    """Every other byte is refused (M62), from bytes and from views."""
    made = plan(FREE, ("b", "BOOL", (2,)), ("a", "INT8", (2,)))
    assert made.arrange([b"\0\1", b"\7\7"])
    for bad in (b"\0\2", memoryview(b"\xff\0")):
        with pytest.raises(InvalidRequest) as caught:
            made.arrange([bad, b"\7\7"])
        assert caught.value.reason == "VALUE_OUT_OF_RANGE"
        assert caught.value.field == "raw_input_contents[0]"


@pytest.mark.parametrize("raw", [b"", b"\1\0\0", b"\5\0\0\0ab", encode_bytes([b"a"] * 9)])
def test_bytes_framing_is_checked(raw: bytes) -> None:
    """Lengths must lead exactly to the end, for exactly the shape's elements (M64 to M67)."""
    made = plan(BATCHED, X, WORDS)
    with pytest.raises(InvalidRequest) as caught:
        made.arrange([bytes(120), raw])
    assert caught.value.field == "raw_input_contents[1]"


def test_a_model_that_gives_too_few_outputs_is_told() -> None:
    """The head of an answer names as many outputs as the signature."""
    made = plan(BATCHED, X)
    assert made.answer((("FP32", (3,)), ("BYTES", ())), [b"", b""], "")
    with pytest.raises(OutputInvalid, match="gave 1 outputs, it declares 2"):
        made.answer((("FP32", (3,)),), [b""], "")
