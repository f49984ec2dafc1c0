"""The little that the prototype reads of a ModelInferRequest and writes of its answer."""

from __future__ import annotations

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse

_RAW_INPUT = 7  # field number of raw_input_contents in the request
_RAW_OUTPUT_TAG = b"\x32"  # field 6 of the answer, length-delimited
_BYTES = 2  # protobuf's wire type of length-delimited fields


def raw_input(request: bytes) -> tuple[int, memoryview]:
    """Where the first raw tensor's field begins, and its bytes, without a copy.

    Protobuf's own parser would copy them twice.
    """
    at, view = 0, memoryview(request)
    while at < len(request):
        start = at
        tag, at = _varint(request, at)
        if tag & 7 != _BYTES:
            _, at = _varint(request, at)
            continue
        size, at = _varint(request, at)
        if tag >> 3 == _RAW_INPUT:
            return start, view[at : at + size]
        at += size
    raise ValueError("the request has no raw tensor; the prototype takes nothing else")


def answer_head(request: bytes, shape: tuple[int, ...], nbytes: int) -> bytes:
    """The serialised answer of `shape` up to its `nbytes` of numbers, which are to be appended."""
    message = ModelInferRequest.FromString(request)
    head = ModelInferResponse(model_name=message.model_name, model_version="1")
    head.outputs.add(name="output", datatype=message.inputs[0].datatype, shape=shape)
    length = bytearray()
    while nbytes > 127:
        length.append(nbytes & 127 | 128)
        nbytes >>= 7
    length.append(nbytes)
    return head.SerializeToString() + _RAW_OUTPUT_TAG + bytes(length)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
