"""Between numpy arrays and raw tensor contents: little-endian, row-major, no padding."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.wire.dtypes import DATATYPES
from inferd.wire.tensors import Buffer, decode_bytes, encode_bytes

Array = npt.NDArray[Any]


def from_numpy(array: Array, datatype: str) -> Buffer:
    """The raw contents of `array`, whose dtype is that of `datatype`.

    BF16 takes float32, rounded to nearest even, or uint16 bit patterns; BYTES takes str (sent as
    UTF-8) and bytes. No copy is made of a contiguous array, so leave it alone until it is sent.
    Raises `TypeError` for an element of a BYTES array that is neither.
    """
    if datatype == "BYTES":
        return encode_bytes(_elements(array))
    if datatype == "BF16" and array.dtype != np.uint16:
        array = round_to_bf16(array)
    contiguous = np.ascontiguousarray(array, dtype=DATATYPES[datatype].numpy)
    return contiguous.reshape(-1).view(np.uint8).data


def to_numpy(raw: Buffer, datatype: str, shape: tuple[int, ...]) -> Array:
    """A fresh, writable array of the raw contents; BF16 is widened to float32.

    BYTES becomes an object array of bytes. Raises `ValueError` if the size does not fit.
    """
    if datatype == "BYTES":
        elements = np.empty(prod(shape), dtype=np.object_)
        elements[:] = decode_bytes(raw, prod(shape))
        return elements.reshape(shape)
    known = DATATYPES.get(datatype)
    if known is None:
        raise ValueError(f"datatype {datatype!r} is none of {', '.join(DATATYPES)}")
    expected = known.itemsize * prod(shape)
    if len(raw) != expected:
        raise ValueError(f"{len(raw)} bytes came for {datatype} {list(shape)}, not {expected}")
    array: Array = np.frombuffer(raw, dtype=known.numpy).reshape(shape)
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.copy()


def round_to_bf16(array: Array) -> npt.NDArray[np.uint16]:
    """The BF16 bit patterns nearest to float32 values, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(array, dtype="<f4").view(np.uint32).reshape(array.shape)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding up could carry a NaN's fraction into infinity: set its quiet bit instead.
    quiet = (bits >> 16) | 0x40
    return np.where(np.isnan(array), quiet, rounded).astype("<u2")


def _elements(array: Array) -> Iterator[bytes]:
    for element in array.reshape(-1):
        if isinstance(element, bytes):
            yield element
        elif isinstance(element, str):
            yield element.encode()
        else:
            raise TypeError(f"{element!r} is neither str nor bytes")
