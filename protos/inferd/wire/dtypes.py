"""The datatypes of the Open Inference Protocol: sizes, numpy twins and typed lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ANY = "ANY"
"""Datatype of a model input that takes every datatype; never found in a request."""


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype of the protocol.

    `itemsize` is in bytes, 0 for BYTES, whose elements carry their own length. `numpy` is
    the dtype of the same bytes; BF16 has none in numpy, so its bit pattern is a uint16.
    `typed_list` names the field of InferTensorContents, None where only raw bytes are allowed.
    """

    name: str
    itemsize: int
    numpy: npt.DTypeLike
    typed_list: str | None
    config_name: str
    """The name in ModelConfig's DataType enum."""


_TABLE = (
    Datatype("BOOL", 1, np.bool_, "bool_contents", "TYPE_BOOL"),
    Datatype("UINT8", 1, "<u1", "uint_contents", "TYPE_UINT8"),
    Datatype("UINT16", 2, "<u2", "uint_contents", "TYPE_UINT16"),
    Datatype("UINT32", 4, "<u4", "uint_contents", "TYPE_UINT32"),
    Datatype("UINT64", 8, "<u8", "uint64_contents", "TYPE_UINT64"),
    Datatype("INT8", 1, "<i1", "int_contents", "TYPE_INT8"),
    Datatype("INT16", 2, "<i2", "int_contents", "TYPE_INT16"),
    Datatype("INT32", 4, "<i4", "int_contents", "TYPE_INT32"),
    Datatype("INT64", 8, "<i8", "int64_contents", "TYPE_INT64"),
    Datatype("FP16", 2, "<f2", None, "TYPE_FP16"),
    Datatype("FP32", 4, "<f4", "fp32_contents", "TYPE_FP32"),
    Datatype("FP64", 8, "<f8", "fp64_contents", "TYPE_FP64"),
    Datatype("BF16", 2, "<u2", None, "TYPE_BF16"),
    Datatype("BYTES", 0, np.object_, "bytes_contents", "TYPE_STRING"),
)

DATATYPES: dict[str, Datatype] = {datatype.name: datatype for datatype in _TABLE}
"""Every datatype by its protocol name."""

_BY_NUMPY = {np.dtype(d.numpy): d.name for d in _TABLE if d.name not in ("BF16", "BYTES")}


def datatype_of(dtype: np.dtype[np.generic]) -> str | None:
    """The protocol's name for a numpy dtype; BYTES for strings and objects, None if there is none."""
    if dtype.kind in "OSUT":
        return "BYTES"
    return _BY_NUMPY.get(dtype.newbyteorder("<"))
