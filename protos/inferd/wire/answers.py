"""Writing a ModelInferResponse, raw outputs behind a serialised head, and taking it apart again."""

from __future__ import annotations

from collections.abc import Sequence

from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.wire.tensors import Buffer

_ID_TAG = b"\x1a"  # field 3, length-delimited
_RAW_TAG = b"\x32"  # field 6, length-delimited

OutputHead = tuple[str, str, tuple[int, ...]]
"""Name, datatype and shape of one output."""


def answer_head(model: str, version: int, outputs: Sequence[OutputHead]) -> bytes:
    """The part of an answer that does not depend on the call: worth keeping per shape."""
    head = ModelInferResponse(model_name=model, model_version=str(version))
    for name, datatype, shape in outputs:
        head.outputs.add(name=name, datatype=datatype, shape=shape)
    return head.SerializeToString()


def assemble_answer(head: bytes, request_id: str, raw: Sequence[Buffer]) -> bytes:
    """The serialised ModelInferResponse: `raw` are the outputs' bytes, in the head's order.

    Protobuf lets fields come in any order, so the tensors are copied once, here.
    """
    if len(raw) == 1 and not request_id:
        tensor = raw[0]
        return b"".join((head, _RAW_TAG, varint(len(tensor)), tensor))
    pieces: list[Buffer] = [head]
    if request_id:
        encoded = request_id.encode()
        pieces += (_ID_TAG, varint(len(encoded)), encoded)
    for tensor in raw:
        pieces += (_RAW_TAG, varint(len(tensor)), tensor)
    return b"".join(pieces)


def split_answer(answer: bytes) -> tuple[ModelInferResponse, list[memoryview]]:
    """An answer of `assemble_answer` without its raw outputs, and these as views, in order."""
    view = memoryview(answer)
    head: list[memoryview] = []
    raw: list[memoryview] = []
    at = 0
    while at < len(answer):
        # Every field of the message is length-delimited, with a number below 16.
        start, length, shift = at, 0, 0
        while True:
            at += 1
            length |= (answer[at] & 127) << shift
            shift += 7
            if answer[at] < 128:
                break
        at += 1
        end = at + length
        if answer[start] == _RAW_TAG[0]:
            raw.append(view[at:end])
        else:
            head.append(view[start:end])
        at = end
    return ModelInferResponse.FromString(b"".join(head)), raw


def varint(value: int) -> bytes:
    """A protobuf varint, for the lengths of fields appended to a serialised message."""
    if value < 128:
        return _SHORT[value]
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SHORT = [bytes([value]) for value in range(128)]
