"""Made-up inputs that fit a signature, to warm a model up and to try it out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from inferd.wire.dtypes import ANY
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.model import Array, Value
from inferd.worker.tensors import DTYPES

_USUAL_SIZE = 8


def sample_inputs(
    signature: Signature, sizes: Mapping[str, int], device: torch.device, rows: int = 1
) -> list[Value] | None:
    """One value per input: zeros and empty strings, which are valid ids everywhere.

    `sizes` are wanted sizes of free dimensions by symbol, held within their ranges; `rows` counts for
    the first dimension of a model that batches. None where a dimension is derived from another,
    so that only the program itself could tell which sizes go together.
    """
    values = []
    for spec in signature.inputs:
        shape = _shape(spec, sizes, rows if signature.max_batch_size else None)
        if shape is None:
            return None
        values.append(_value(spec.datatype, shape, device))
    return values


def _shape(spec: TensorSpec, sizes: Mapping[str, int], rows: int | None) -> tuple[int, ...] | None:
    if spec.dims is None:
        return (rows or 1, _USUAL_SIZE)
    shape = []
    for index, dim in enumerate(spec.dims):
        if index == 0 and rows is not None:
            shape.append(rows)
        elif not isinstance(dim, Axis):
            shape.append(dim)
        elif dim.symbol.isidentifier():
            shape.append(_within(dim, sizes.get(dim.symbol, _USUAL_SIZE)))
        else:
            return None
    return tuple(shape)


def _within(axis: Axis, size: int) -> int:
    size = max(axis.min, size)
    return size if axis.max is None else min(axis.max, size)


def _value(datatype: str, shape: tuple[int, ...], device: torch.device) -> Value:
    if datatype == "BYTES":
        strings: Array = np.empty(shape, dtype=np.object_)
        strings.fill(b"")
        return strings
    return torch.zeros(shape, dtype=DTYPES["FP32" if datatype == ANY else datatype], device=device)
