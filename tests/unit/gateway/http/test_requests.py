"""Requests over HTTP become requests of the protocol, and their tensors come back the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.server.gateway.http.body import Body
from inferd.server.gateway.http.requests import encode_request
from inferd.server.gateway.http.tensor_data import data_of, raw_of
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest
from inferd.wire.tensors import encode_bytes

LIMIT = 1 << 20
NUMBERS = [name for name, each in DATATYPES.items() if each.typed_list and name != "BYTES"]

shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """A datatype that JSON carries, and an array of it with finite values."""
    datatype = draw(st.sampled_from(NUMBERS))
    dtype = np.dtype(DATATYPES[datatype].numpy)
    elements: st.SearchStrategy[Any] | None = None
    if dtype.kind == "f":
        elements = st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]  # 32 or 64
    return datatype, draw(arrays.arrays(dtype, draw(shapes), elements=elements))


@given(tensors(), st.sampled_from(["flat", "nested"]), st.sampled_from(["", " ", "\n\t"]))
def test_numbers_survive_json(tensor: tuple[str, np.ndarray], form: str, space: str) -> None:
    """Flat or nested, with spaces anywhere: every value comes out bit for bit."""
    datatype, array = tensor
    text = json.dumps((array.ravel() if form == "flat" else array).tolist())
    text = space + text.replace("[", f"[{space}").replace(",", f"{space},")
    raw = raw_of(msgspec.Raw(text.encode()), "x", datatype, array.shape, "f")
    assert raw == array.tobytes()
    answered = msgspec.json.encode(data_of(raw, "x", datatype, array.shape))
    again = raw_of(msgspec.Raw(answered), "x", datatype, array.shape, "f")
    assert again == raw


@given(st.lists(st.text(), max_size=8))
def test_text_survives_json(texts: list[str]) -> None:
    """Every character, NUL too."""
    raw = raw_of(msgspec.Raw(msgspec.json.encode(texts)), "x", "BYTES", (len(texts),), "f")
    assert raw == encode_bytes([text.encode() for text in texts])
    assert data_of(raw, "x", "BYTES", (len(texts),)) == texts


@given(st.recursive(st.integers() | st.floats() | st.booleans() | st.none() | st.text(), st.lists), st.sampled_from(["FP32", "INT8", "UINT64", "BOOL", "BYTES"]))  # fmt: skip
def test_whatever_is_no_tensor_is_refused(data: Any, datatype: str) -> None:
    """With our own error, or it has as many bytes as its shape says."""
    text = msgspec.json.encode(data)
    try:
        raw = raw_of(msgspec.Raw(text), "x", datatype, (2, 2), "f")
    except InvalidRequest:
        return
    assert datatype == "BYTES" or len(raw) == 4 * DATATYPES[datatype].itemsize


parameters = st.dictionaries(
    st.text(max_size=5).filter(lambda key: not key.startswith("binary_data")),
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    max_size=3,
)  # fmt: skip


@given(
    st.lists(st.tuples(st.text(max_size=4), tensors(), st.booleans(), parameters), max_size=4),
    st.lists(st.tuples(st.text(max_size=4), st.none() | st.booleans(), parameters), max_size=3),
    parameters,
    st.text(max_size=5),
    st.lists(st.integers(1, 50), max_size=10),
)
def test_a_request_says_the_same_in_protobuf(
    inputs: list[Any], outputs: list[Any], of_request: dict[str, Any], id_: str, cuts: list[int]
) -> None:
    """Names, datatypes, shapes, parameters and bytes, however the body is cut on its way."""
    behind: list[bytes] = []
    heads: list[dict[str, Any]] = []
    for name, (datatype, array), binary, of_input in inputs:
        head = {"name": name, "datatype": datatype, "shape": array.shape, "parameters": of_input}
        if binary:
            behind.append(array.tobytes())
            head["parameters"] = {**of_input, "binary_data_size": array.nbytes}
        else:
            head["data"] = array.tolist()
        heads.append(head)
    document = {
        "id": id_,
        "inputs": heads,
        "outputs": [
            {"name": name, "parameters": p if flag is None else {**p, "binary_data": flag}}
            for name, flag, p in outputs
        ],
        "parameters": {**of_request, "binary_data_output": True},
    }
    text = msgspec.json.encode(document)
    encoded = encode_request("m", "3", _cut(text + b"".join(behind), cuts), len(text), LIMIT)
    message = ModelInferRequest.FromString(encoded.payload)
    assert (message.model_name, message.model_version, message.id) == ("m", "3", id_)
    assert list(message.raw_input_contents) == [array.tobytes() for _, (_, array), _, _ in inputs]
    for found, (name, (datatype, array), _, of_input) in zip(message.inputs, inputs, strict=True):
        assert (found.name, found.datatype, tuple(found.shape)) == (name, datatype, array.shape)
        assert _plain(found.parameters) == of_input
    assert [(o.name, _plain(o.parameters)) for o in message.outputs] == [
        (name, p) for name, _, p in outputs
    ]
    assert _plain(message.parameters) == of_request
    assert encoded.binary_by_default
    assert encoded.binary == {name: flag for name, flag, _ in outputs if flag is not None}


@given(st.binary(max_size=200), st.none() | st.integers(0, 220))
def test_random_bytes_are_refused(body: bytes, length: int | None) -> None:
    """With our own error, whatever they are."""
    with pytest.raises(InvalidRequest):
        encode_request("m", "", Body([body]), length, LIMIT)


def test_a_tensor_too_large_to_serve_is_not_read() -> None:
    """Its shape is refused later; its values would cost memory until then."""
    document = {"name": "x", "datatype": "FP32", "shape": [LIMIT], "data": ["not read"]}
    body = Body([json.dumps({"inputs": [document]}).encode()])
    message = ModelInferRequest.FromString(encode_request("m", "", body, None, LIMIT).payload)
    assert list(message.raw_input_contents) == [b""]


def _cut(body: bytes, sizes: list[int]) -> Body:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    return Body([*pieces, body[at:]])


def _plain(found: Any) -> dict[str, Any]:
    return {
        key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in found.items()
    }
