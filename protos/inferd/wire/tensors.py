"""The raw form of BYTES tensors: per element a 4-byte little-endian length, then the bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

Buffer = bytes | bytearray | memoryview

_LENGTH = struct.Struct("<I")


def encode_bytes(items: Iterable[bytes]) -> bytes:
    """The elements in their raw form, in order."""
    pieces = []
    for item in items:
        pieces.append(_LENGTH.pack(len(item)))
        pieces.append(item)
    return b"".join(pieces)


def decode_bytes(raw: Buffer, count: int) -> list[bytes]:
    """The `count` elements of a BYTES tensor, copied out of `raw`.

    Raises `ValueError` where the framing is broken or holds more or fewer elements.
    """
    offsets = element_offsets(raw, count)
    return [bytes(raw[start + 4 : end]) for start, end in pairwise(offsets)]


def element_offsets(raw: Buffer, count: int) -> list[int]:
    """Where each element's length prefix begins, and the end: `count` + 1 numbers.

    Raises `ValueError` where the framing is broken or holds more or fewer elements.
    """
    size = len(raw)
    if size < 4 * count:  # before looping over a count that the sender chose
        raise ValueError(f"{size} bytes cannot hold {count} elements")
    offsets = [0]
    at = 0
    for index in range(count):
        if size - at < 4:
            raise ValueError(f"{size - at} bytes are left where element {index} has its length")
        at += 4 + _LENGTH.unpack_from(raw, at)[0]
        if at > size:
            raise ValueError(f"element {index} ends {at - size} bytes beyond the data")
        offsets.append(at)
    if at != size:
        raise ValueError(f"{size - at} bytes follow the last of {count} elements")
    return offsets


def row_offsets(raw: Buffer, rows: int, elements_per_row: int) -> list[int]:
    """Where each row of a BYTES tensor begins, and the end: `rows` + 1 numbers.

    Raises `ValueError` as `element_offsets` does.
    """
    offsets = element_offsets(raw, rows * elements_per_row)
    if elements_per_row == 0:
        return [0] * (rows + 1)
    return offsets[::elements_per_row]
