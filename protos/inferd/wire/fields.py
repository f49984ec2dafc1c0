"""The fields of a serialised message, found without copying what is in them."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, value, start and end of each field between `start` and `end`, in their order.

    Varints have a value and no extent; all others an extent and the value 0. Layout:
    https://protobuf.dev/programming-guides/encoding/. Raises `DecodeError` for what is none.
    """
    at = start
    while at < end:
        tag, at = read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        value, size = 0, 0
        if kind == _VARINT:
            value, at = read_varint(data, at, end)
        elif kind == _BYTES:
            size, at = read_varint(data, at, end)
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise DecodeError
        if at + size > end or not number:
            raise DecodeError
        yield number, value, at, at + size
        at += size


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at `at` and where it ends. Raises `DecodeError` for none before `end`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise DecodeError
