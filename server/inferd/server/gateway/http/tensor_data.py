"""The `data` of a tensor in JSON, and the raw bytes that stand for it everywhere else."""

from __future__ import annotations

import functools
import re
from math import prod
from typing import Any

import msgspec
import numpy as np

from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import MAX_RANK
from inferd.wire.tensors import Buffer, decode_bytes, encode_bytes

_BEGIN = re.compile(rb"[\[ \t\n\r]*")
_ELEMENTS: dict[str, type[bool | int | float | str]] = {
    "b": bool,
    "i": int,
    "u": int,
    "f": float,
    "O": str,
}
"""What JSON has for the elements of a kind of numpy dtype."""


def raw_of(
    data: msgspec.Raw, name: str, datatype: str, shape: tuple[int, ...], field: str
) -> bytes:
    """The raw bytes of a tensor's `data`: one flat list, or lists nested as its shape says.

    Raises `InvalidRequest` where an element is of another kind than the datatype or does not fit
    it, where the lists are not of the shape, and for FP16 and BF16, which JSON does not carry.
    """
    known = DATATYPES[datatype]
    if known.typed_list is None:
        raise _binary_only(datatype, "input", name, field)
    dtype = np.dtype(known.numpy)
    values, depth = _decode(data, dtype.kind, name, datatype, field)
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype)
    except (OverflowError, ValueError) as error:
        raise _unfit(values, name, datatype, dtype, field) from error
    # Of uneven lists of text numpy makes an array of lists; JSON has no infinity of its own.
    if array.ndim != depth or (dtype.kind == "f" and not np.isfinite(array).all()):
        raise _unfit(values, name, datatype, dtype, field)
    if array.shape != shape and (array.ndim == len(shape) > 1 or array.size != prod(shape)):
        raise InvalidRequest(
            f"input '{name[:64]}' has data of shape {list(array.shape)[:MAX_RANK]}, its shape is "
            f"{list(shape)}; send nested lists of that shape, or {prod(shape)} values in one list",
            field=field,
        )
    if dtype.kind == "O":
        return encode_bytes([text.encode() for text in array.ravel().tolist()])
    return array.tobytes()


def data_of(raw: Buffer, name: str, datatype: str, shape: tuple[int, ...]) -> list[Any]:
    """The elements of an output in one flat list, as JSON carries them.

    Raises `InvalidRequest` for what JSON does not carry: FP16, BF16 and BYTES that are no UTF-8.
    """
    known = DATATYPES[datatype]
    if known.typed_list is None:
        raise _binary_only(datatype, "output", name, None)
    if datatype == "BYTES":
        try:
            return [element.decode() for element in decode_bytes(raw, prod(shape))]
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"output '{name}' has bytes that are no UTF-8 text, which JSON does not carry; "
                "ask for it with the parameter binary_data = true",
                reason="NOT_IN_JSON",
            ) from error
    elements: list[Any] = np.frombuffer(raw, known.numpy).tolist()
    return elements


def _decode(
    data: msgspec.Raw, kind: str, name: str, datatype: str, field: str
) -> tuple[list[Any], int]:
    """The lists, and how deep they are nested."""
    begin = _BEGIN.match(data)
    depth = 0 if begin is None else begin.group().count(b"[")
    if not 0 < depth <= MAX_RANK:
        raise InvalidRequest(
            f"input '{name[:64]}' has data that is no list, or nested deeper than {MAX_RANK}; send "
            "its values in one list, or in lists nested as its shape",
            field=field,
        )
    try:
        return _decoder(kind, depth).decode(data), depth
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise InvalidRequest(
            f"input '{name[:64]}' is {datatype}: {text[:1].lower()}{text[1:200]}", field=field
        ) from None


@functools.lru_cache(maxsize=5 * MAX_RANK)
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    nested: Any = _ELEMENTS[kind]
    for _ in range(depth):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


def _unfit(
    values: list[Any], name: str, datatype: str, dtype: np.dtype[Any], field: str
) -> InvalidRequest:
    flat, depth = values, 0
    while flat and isinstance(flat[0], list):
        lengths = {len(row) for row in flat}
        if len(lengths) > 1:
            return InvalidRequest(
                f"input '{name[:64]}' has lists of different lengths ({min(lengths)} and "
                f"{max(lengths)}) at depth {depth + 1}; nested lists have the tensor's shape",
                field=field,
            )
        flat, depth = [each for row in flat for each in row], depth + 1
    for position, value in enumerate(flat):
        if not _fits(value, dtype):
            return InvalidRequest(
                f"input '{name[:64]}': value {str(value)[:32]} at {position} does not fit {datatype}",
                reason="VALUE_OUT_OF_RANGE",
                field=f"{field}[{position}]",
            )
    return InvalidRequest(f"input '{name[:64]}' has data that is no {datatype} tensor", field=field)


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "fiu":
        return True
    if dtype.kind == "f":
        return abs(float(value)) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return int(limits.min) <= int(value) <= int(limits.max)


def _binary_only(datatype: str, what: str, name: str, field: str | None) -> InvalidRequest:
    return InvalidRequest(
        f"sending {datatype} data via JSON is not supported. Please use the binary data format for "
        f"{what} '{name[:64]}'",
        reason="NOT_IN_JSON",
        field=field,
    )
