"""Typed tensor contents (InferTensorContents) turned into raw bytes, each value checked."""

from __future__ import annotations

from math import prod

import numpy as np

from inferd.protos.oip_pb2 import InferTensorContents
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest
from inferd.wire.tensors import encode_bytes


def raw_contents(
    contents: InferTensorContents, name: str, datatype: str, shape: tuple[int, ...], field: str
) -> bytes:
    """The raw form of one input's typed contents.

    Raises `InvalidRequest` where another list than the datatype's is filled, where the number of
    values is not that of the shape, or where a value does not fit the datatype.
    """
    known = DATATYPES.get(datatype)
    typed_list = None if known is None else known.typed_list
    if typed_list is None:
        raise InvalidRequest(
            f"input '{name[:64]}' is {datatype[:64]}, which has no typed contents; "
            "send raw_input_contents",
            field=field,
        )
    for descriptor, values in contents.ListFields():
        if descriptor.name != typed_list and len(values):
            raise InvalidRequest(
                f"input '{name}' is {datatype}: its values belong in {typed_list}, "
                f"but {descriptor.name} is filled",
                field=f"{field}.{descriptor.name}",
            )
    values = getattr(contents, typed_list)
    if len(values) != prod(shape):
        raise InvalidRequest(
            f"input '{name}' has {len(values)} values in {typed_list}, "
            f"its shape {list(shape)} has {prod(shape)}",
            field=f"{field}.{typed_list}",
        )
    if datatype == "BYTES":
        return encode_bytes(values)
    return _numbers(values, name, datatype, f"{field}.{typed_list}")


def _numbers(values: object, name: str, datatype: str, field: str) -> bytes:
    target = np.dtype(DATATYPES[datatype].numpy)
    wide = np.array(values, dtype=_wide(target))
    if target.kind in "iu" and target.itemsize < wide.itemsize and wide.size:
        limits = np.iinfo(target)
        outside = (wide < limits.min) | (wide > limits.max)
        if outside.any():
            at = int(outside.argmax())
            raise InvalidRequest(
                f"input '{name}': value {wide[at]} at {at} does not fit {datatype} "
                f"({limits.min} to {limits.max})",
                reason="VALUE_OUT_OF_RANGE",
                field=f"{field}[{at}]",
            )
    return wide.astype(target).tobytes()


def _wide(target: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The type of the protobuf list that carries `target`: wide enough for what may arrive."""
    if target.kind in "iu" and target.itemsize < 4:
        return np.dtype("<i8")
    return target
