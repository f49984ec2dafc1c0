"""A request is the same whichever way it is read, and random bytes never surprise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.wire import requests
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import InferMessage
from inferd.wire.tensors import Buffer

_TEXT = st.text(max_size=8)
_SHAPES = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Requests of every form, with unknown fields strewn in, in any order of fields."""
    message = ModelInferRequest(model_name=draw(_TEXT), model_version=draw(_TEXT), id=draw(_TEXT))
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(
            name=draw(_TEXT),
            datatype=draw(st.sampled_from(["INT32", "BYTES", "FP16", "BOOL", ""])),
            shape=draw(_SHAPES),
        )
        if draw(st.booleans()):
            tensor.contents.int_contents.extend(draw(st.lists(st.integers(-5, 5), max_size=3)))
        if draw(st.booleans()):
            tensor.parameters[draw(_TEXT)].int64_param = draw(st.integers(-3, 3))
    for name in draw(st.lists(_TEXT, max_size=2)):
        message.outputs.add(name=name)
    for key in draw(st.lists(_TEXT, max_size=3)):
        message.parameters[key].string_param = draw(_TEXT)
    pieces = [message.SerializeToString()]
    for raw in draw(st.lists(st.binary(max_size=40), max_size=4)):
        pieces.append(ModelInferRequest(raw_input_contents=[raw]).SerializeToString())
        pieces.append(
            draw(st.sampled_from([b"", b"\xa0\x06\x07", b"\xa2\x06\x01x", b"\xa3\x06\xa4\x06"]))
        )
    return b"".join(draw(st.permutations(pieces)))


def reading(payload: bytes, threshold: int) -> object:
    """All that reading these bytes says, or the error it raises."""
    kept, requests.SMALL_REQUEST = requests.SMALL_REQUEST, threshold
    try:
        message = InferMessage(payload)
    except InvalidRequest as error:
        return error.reason, error.message, error.field
    finally:
        requests.SMALL_REQUEST = kept
    heads = (message.model, message.version, message.id, message.inputs, message.outputs)
    return (*heads, message.plain, outcome(message.parameters), outcome(message.buffers))


def outcome(read: Callable[[], Mapping[str, object] | Sequence[Buffer] | None]) -> object:
    """What one part of a request says, tensors as bytes, or the error it raises."""
    try:
        found = read()
    except InvalidRequest as error:
        return error.reason, error.message, error.field
    if found is None or isinstance(found, Mapping):
        return found
    return [bytes(each) for each in found]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(messages())
def test_both_paths_read_the_same_request(payload: bytes) -> None:
    """Protobuf alone and the search for raw tensors agree on every field and every error."""
    assert reading(payload, 1 << 30) == reading(payload, -1)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"\x3a\x80")
@example(b"\x2a\x02\x0b\x0c")
@example(b"\x1b\x1c")
@example(b"\x3b\x3c")
@example(b"\x00\x01")
@example(b"\x2a\x04\x0a\x00\x1a\x80\x03")  # a shape longer than the input it stands in
def test_random_bytes_are_a_request_or_refused(payload: bytes) -> None:
    """Nothing but InvalidRequest comes out, and the two paths agree."""
    assert reading(payload, 1 << 30) == reading(payload, -1)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(messages(), st.data())
def test_damaged_requests_are_requests_or_refused(payload: bytes, data: st.DataObject) -> None:
    """The same for requests with one byte changed or the end cut off."""
    damaged = bytearray(payload or b"\x00")
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(at, len(damaged))) :]
    assert reading(bytes(damaged), 1 << 30) == reading(bytes(damaged), -1)


def test_large_requests_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors of a large request are views into its own bytes."""
    message = ModelInferRequest(model_name="m", raw_input_contents=[bytes(100_000)])
    message.inputs.add(name="x", datatype="UINT8", shape=[100_000])
    payload = message.SerializeToString()
    (view,) = InferMessage(payload).buffers()
    assert isinstance(view, memoryview)
    assert view.obj is payload
