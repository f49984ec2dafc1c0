"""Steps of inferd.v1.BulkInference, whose tensors are copied once where protobuf would twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from inferd.protos.v1.bulk_pb2 import Credit
from inferd.wire.answers import varint
from inferd.wire.fields import fields
from inferd.wire.tensors import Buffer

WHOLE, ERROR = 2, 3
"""Numbers of the fields `request` and `response`, and of `error`."""

_CHUNK_PART, _ANSWER_PART = 3, 4
_SEQUENCE, _CREDIT = 1, 5
_DATA, _LAST = 1, 2
_STEP = 2
"""Number of the fields `chunk` and `answer`, beside `open` and `opened`."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a Chunk or an Answer carries: a whole message, or a part of one of which `last` tells.

    `data` is a view into the step. `error` stands in the place of an answer.
    """

    sequence: int
    data: Buffer
    whole: bool
    last: bool
    error: bool = False
    credit: tuple[int, int] = (0, 0)
    """Chunks and bytes given back."""


def read_step(payload: bytes, *, answers: bool) -> Content | bytes:
    """The chunk, or with `answers` the answer, in a step; the bytes of one that opens the stream.

    Raises `DecodeError` for what is neither.
    """
    step: tuple[int, int, int] | None = None
    for number, _, start, end in fields(payload, 0, len(payload)):
        if number in (1, _STEP):
            step = (number, start, end)
    if step is None:
        raise DecodeError
    number, start, end = step
    if number != _STEP:
        return payload[start:end]
    return _content(payload, start, end, _ANSWER_PART if answers else _CHUNK_PART)


def whole_chunk(sequence: int, request: bytes) -> bytes:
    """The step of a chunk in one message."""
    return _step(sequence, WHOLE, (request,))


def parts_of_chunk(sequence: int, request: bytes, size: int) -> list[bytes]:
    """The steps of a chunk in parts of at most `size` bytes."""
    return [_step(sequence, _CHUNK_PART, part) for part in _parts(request, size)]


def answer_steps(
    sequence: int, number: int, body: bytes, size: int, credit: tuple[int, int]
) -> list[bytes]:
    """The steps of an answer: its `body` is that of the field `number`, in parts if it is large."""
    given = Credit(chunks=credit[0], bytes=credit[1]).SerializeToString()
    back = (b"\x2a", varint(len(given)), given)
    if len(body) <= size:
        return [_step(sequence, number, (body,), back)]
    parts = list(_parts(body, size))
    return [
        *[_step(sequence, _ANSWER_PART, part) for part in parts[:-1]],
        _step(sequence, _ANSWER_PART, parts[-1], back),
    ]


def _content(payload: bytes, start: int, end: int, part_number: int) -> Content:
    view = memoryview(payload)
    sequence, whole, last, error, credit = 0, False, False, False, (0, 0)
    data: Buffer | None = None
    for number, value, first, behind in fields(payload, start, end):
        if number == _SEQUENCE:
            sequence = value
        elif number == part_number:
            data, last = _part(payload, first, behind)
            whole, error = False, False
        elif number == WHOLE or (number == ERROR and part_number == _ANSWER_PART):
            data, whole, last, error = view[first:behind], True, True, number == ERROR
        elif number == _CREDIT:
            back = Credit.FromString(payload[first:behind])
            credit = (back.chunks, back.bytes)
    if data is None:
        raise DecodeError
    return Content(sequence, data, whole, last, error, credit)


def _part(payload: bytes, start: int, end: int) -> tuple[Buffer, bool]:
    data: Buffer = b""
    last = False
    for number, value, first, behind in fields(payload, start, end):
        if number == _DATA:
            data = memoryview(payload)[first:behind]
        elif number == _LAST:
            last = bool(value)
    return data, last


def _parts(body: bytes, size: int) -> list[Sequence[Buffer]]:
    view = memoryview(body)
    found: list[Sequence[Buffer]] = []
    for at in range(0, len(body), size):
        piece = view[at : at + size]
        pieces: list[Buffer] = [b"\x0a", varint(len(piece)), piece]
        if at + size >= len(body):
            pieces.append(b"\x10\x01")
        found.append(pieces)
    return found


def _step(
    sequence: int, number: int, body: Sequence[Buffer], behind: Sequence[Buffer] = ()
) -> bytes:
    head = b"\x08" + varint(sequence)
    inner = varint(number << 3 | 2) + varint(sum([len(each) for each in body]))
    size = len(head) + len(inner) + sum([len(each) for each in (*body, *behind)])
    return b"".join((b"\x12", varint(size), head, inner, *body, *behind))
