"""What callers hand over (numpy, torch, lists) as arrays of the protocol, and back in kind."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inferd.client.codec.arrays import Array, from_numpy, round_to_bf16, to_numpy
from inferd.client.errors import InvalidInput, invalid
from inferd.wire.dtypes import DATATYPES, datatype_of
from inferd.wire.tensors import Buffer

if TYPE_CHECKING:
    import torch

BFLOAT16 = "bfloat16"
"""Name of the dtype in torch, and of the one that ml_dtypes adds to numpy."""


@dataclass(frozen=True, slots=True)
class Value:
    """A caller's tensor, ready for the wire. The array of a BF16 tensor holds bit patterns."""

    datatype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return self.array.shape

    def raw(self) -> Buffer:
        """Its raw contents."""
        return from_numpy(self.array, self.datatype)


def is_torch(value: object) -> bool:
    """Whether a value is a torch tensor. Never imports torch: where it is not loaded, none is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def read_value(name: str, datatype: str | None, given: object) -> Value:
    """The value given for the input `name`, as the `datatype` that its model takes (None: any).

    Arrays are cast where nothing can be lost; Python numbers become whatever the model takes, as
    long as they fit. Raises `InvalidInput`, naming the input, for everything else.
    """
    if is_torch(given):
        value = _from_torch(name, given)
    elif isinstance(given, np.ndarray | np.generic) or hasattr(given, "__array__"):
        value = _from_numpy(name, np.asarray(given))
    else:
        return _from_python(name, datatype, given)
    if datatype is None or value.datatype == datatype:
        return value
    return _cast(name, datatype, value, given)


def write_value(raw: Buffer, datatype: str, shape: tuple[int, ...], *, as_torch: bool) -> Any:
    """An output as a numpy array, or as a torch tensor on the CPU; BYTES is always numpy.

    Raises `ValueError` where bytes, datatype and shape do not fit together.
    """
    if not as_torch or datatype == "BYTES":
        return to_numpy(raw, datatype, shape)
    import torch  # noqa: PLC0415 - the caller handed in torch tensors: it is loaded

    if datatype == "BF16":  # the bit patterns as they are, not widened
        return torch.from_numpy(to_numpy(raw, "INT16", shape)).view(torch.bfloat16)
    return torch.from_numpy(to_numpy(raw, datatype, shape))


def _from_torch(name: str, tensor: Any) -> Value:
    if tensor.layout is not sys.modules["torch"].strided:
        raise invalid(f"input '{name}' is a sparse tensor; pass tensor.to_dense()", name)
    dense: torch.Tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if str(dense.dtype) == f"torch.{BFLOAT16}":
        bits = dense.contiguous().view(sys.modules["torch"].int16).numpy().view(np.uint16)
        return Value("BF16", bits)
    try:
        array = dense.numpy()
    except TypeError as error:  # quantised and 8-bit floats: no twin in numpy
        raise _no_datatype(name, str(dense.dtype)) from error
    return _from_numpy(name, array)


def _from_numpy(name: str, array: Array) -> Value:
    if array.dtype.kind == "V" and array.dtype.name == BFLOAT16:
        return Value("BF16", array.view(np.uint16))
    datatype = datatype_of(array.dtype)
    if datatype is None:
        raise _no_datatype(name, str(array.dtype))
    if datatype == "BYTES":
        _check_elements(name, array)
    return Value(datatype, array)


def _cast(name: str, datatype: str, value: Value, given: object) -> Value:
    array = value.array
    if datatype == "BF16" and value.datatype == "FP32" and not is_torch(given):
        return Value("BF16", round_to_bf16(array))  # numpy has no BF16: rounding is the only way
    if value.datatype == "BF16" and datatype in ("FP32", "FP64"):
        widened = to_numpy(from_numpy(array, "BF16"), "BF16", array.shape)
        return Value(datatype, widened.astype(DATATYPES[datatype].numpy))
    castable = {"BYTES", "BF16"}.isdisjoint((datatype, value.datatype))
    target = np.dtype(DATATYPES[datatype].numpy)
    if castable and np.can_cast(array.dtype, target, casting="safe"):
        return Value(datatype, array.astype(target))
    raise _wrong_datatype(name, datatype, value, given)


def _from_python(name: str, datatype: str | None, given: object) -> Value:
    if isinstance(given, Mapping) or given is None:
        raise invalid(f"input '{name}' is {type(given).__name__}, not an array or a list", name)
    if _has_text(given):
        natural = _array_of(name, given, np.object_)
        _check_elements(name, natural)
    else:
        natural = _array_of(name, given)
    if natural.dtype.kind == "O" and not _has_text(given):
        raise invalid(f"input '{name}' holds a number that fits no datatype, or no number", name)
    if natural.dtype.kind == "O" and datatype not in (None, "BYTES"):
        raise invalid(f"input '{name}' holds text, the model takes {datatype}", name)
    if datatype is None:
        return _from_numpy(name, natural)
    if datatype == "BYTES":
        if natural.dtype.kind != "O" and natural.size:
            raise invalid(f"input '{name}' holds numbers, the model takes BYTES (text)", name)
        return Value("BYTES", natural.astype(np.object_))
    return _numbers(name, datatype, natural)


def _numbers(name: str, datatype: str, natural: Array) -> Value:
    """Python numbers as `datatype`: any float type takes them, integer types those that fit."""
    number = np.dtype(np.float32 if datatype == "BF16" else DATATYPES[datatype].numpy)
    integral = natural.dtype.kind in "biu" or not natural.size
    if (number.kind in "iu" and not integral) or (number.kind == "b" and natural.dtype.kind != "b"):
        example = natural.reshape(-1)[0] if natural.size else "nothing"
        raise invalid(f"input '{name}' holds {example}, the model takes {datatype}", name)
    try:
        with np.errstate(over="raise"):
            array = natural.astype(number)
    except FloatingPointError as error:
        raise _does_not_fit(name, datatype) from error
    if number.kind in "iu" and not np.array_equal(array, natural):
        raise _does_not_fit(name, datatype)
    return Value(datatype, round_to_bf16(array) if datatype == "BF16" else array)


def _array_of(name: str, given: object, dtype: npt.DTypeLike | None = None) -> Array:
    try:
        return np.array(given, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(
            f"input '{name}' is no array: its lists must be equally long and hold numbers, "
            f"booleans or text only ({type(given).__name__} was given)",
            name,
        ) from error


def _has_text(given: object) -> bool:
    """Whether the first element, however deep, is text."""
    while isinstance(given, Sequence) and not isinstance(given, str | bytes) and len(given):
        given = given[0]
    return isinstance(given, str | bytes)


def _check_elements(name: str, array: Array) -> None:
    if array.dtype.kind != "O":
        return
    for element in array.reshape(-1):
        if not isinstance(element, str | bytes):
            raise invalid(
                f"input '{name}' holds {type(element).__name__} objects beside or instead of "
                "text; give an array of numbers, or of str or bytes",
                name,
            )


def _wrong_datatype(name: str, datatype: str, value: Value, given: object) -> InvalidInput:
    if is_torch(given):
        arrived = f"a {getattr(given, 'dtype', '')} tensor"
        wanted = _TORCH_NAMES.get(datatype)
        cure = f"tensor.to(torch.{wanted})" if wanted else "an array of str or bytes"
    else:
        arrived = f"a {value.array.dtype} array"
        wanted = np.dtype(DATATYPES[datatype].numpy).name
        cure = f"array.astype(numpy.{wanted})" if datatype != "BYTES" else "str or bytes"
        if datatype == "BF16":
            cure = "array.astype(numpy.float32)"
    if value.datatype == "BYTES":
        cure = "numbers"
    return invalid(
        f"input '{name}' is {arrived}, the model takes {datatype}; nothing is cast that would "
        f"lose values: pass {cure}",
        name,
        reason="DATATYPE_MISMATCH",
    )


def _does_not_fit(name: str, datatype: str) -> InvalidInput:
    return invalid(f"input '{name}' holds a number that does not fit {datatype}", name)


def _no_datatype(name: str, dtype: str) -> InvalidInput:
    return invalid(
        f"input '{name}' is {dtype}, which the protocol does not have; it has "
        f"{', '.join(DATATYPES)}",
        name,
    )


_TORCH_NAMES = {
    known.name: BFLOAT16 if known.name == "BF16" else np.dtype(known.numpy).name
    for known in DATATYPES.values()
    if known.name != "BYTES"
}
