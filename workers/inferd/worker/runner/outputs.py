"""A model's answer: whether it fits the signature, and where its parts go in a slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from inferd.core.link.arena import aligned
from inferd.core.link.messages import SlotTensor
from inferd.wire.dtypes import ANY
from inferd.wire.errors import OutputInvalid
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import encode_bytes
from inferd.worker.model import Value
from inferd.worker.tensors import DATATYPE_NAMES, DTYPES

Shapes: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""The shapes of a batch's inputs, None for one that was left out."""

_MOST_SHAPES = 1024


@dataclass(slots=True)
class Part:
    """One output and its place, counted from the start of the room for all of them."""

    datatype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    value: torch.Tensor | bytes

    def slot(self, start: int) -> SlotTensor:
        """Where it lies once the room begins at `start`."""
        return SlotTensor(self.datatype, self.shape, start + self.offset, self.nbytes)


def laid_out(values: Sequence[Value]) -> tuple[list[Part], int]:
    """The outputs behind one another, each aligned, and the bytes they need together."""
    parts = []
    end = 0
    for value in values:
        offset = aligned(end)
        if isinstance(value, torch.Tensor):
            part = Part(
                DATATYPE_NAMES[value.dtype], tuple(value.shape), offset, value.nbytes, value
            )
        else:
            raw = encode_bytes(value.reshape(-1).tolist())
            part = Part("BYTES", value.shape, offset, len(raw), raw)
        end = offset + part.nbytes
        parts.append(part)
    return parts, end


class OutputCheck:
    """Compares answers with the signature."""

    def __init__(self, model: str, signature: Signature) -> None:
        self._model = model
        self._signature = signature
        self._count = len(signature.outputs)
        self._dtypes = [DTYPES.get(spec.datatype) for spec in signature.outputs]
        self._expected: dict[Shapes, list[tuple[int, ...] | None]] = {}

    def check(self, values: Sequence[Value], inputs: Shapes) -> None:
        """Raise `OutputInvalid` unless the answer to inputs of these shapes fits the signature."""
        expected = self._expected.get(inputs)
        if expected is None:
            expected = self._expect(inputs)
        if len(values) != self._count:
            raise OutputInvalid(
                f"model '{self._model}' returned {len(values)} outputs; it declares {self._count}"
            )
        for index, value in enumerate(values):
            # The usual case in two comparisons; everything else is looked at more closely.
            if value.shape != expected[index] or value.dtype is not self._dtypes[index]:
                self._look_closely(index, value, inputs)

    def _expect(self, inputs: Shapes) -> list[tuple[int, ...] | None]:
        if len(self._expected) >= _MOST_SHAPES:
            self._expected.clear()
        sizes, rows = self._sizes(inputs), self._rows(inputs)
        expected = self._expected[inputs] = [
            _bound(spec, sizes, rows) for spec in self._signature.outputs
        ]
        return expected

    def _look_closely(self, index: int, value: Value, inputs: Shapes) -> None:
        spec = self._signature.outputs[index]
        found = _datatype(value)
        fits = found is not None and spec.datatype in (ANY, found)
        if not fits or not self._shape_fits(spec, tuple(value.shape), inputs):
            told = found or str(value.dtype).removeprefix("torch.")
            rows = self._rows(inputs)
            raise OutputInvalid(
                f"model '{self._model}' returned output '{spec.name}' as {told} "
                f"{list(value.shape)}; its signature says {_told(spec)}"
                + (f" and the batch has {rows} rows" if rows is not None else "")
            )

    def _shape_fits(self, spec: TensorSpec, shape: tuple[int, ...], inputs: Shapes) -> bool:
        rows = self._rows(inputs)
        if rows is not None and shape[:1] != (rows,):
            return False
        if spec.dims is None:
            return True
        if len(shape) != len(spec.dims):
            return False
        sizes = self._sizes(inputs)
        for index, (dim, size) in enumerate(zip(spec.dims, shape, strict=True)):
            if index == 0 and rows is not None:
                continue
            if not isinstance(dim, Axis):
                if size != dim:
                    return False
            elif size != sizes.setdefault(dim.symbol, size) or not _within(dim, size):
                return False
        return True

    def _rows(self, inputs: Shapes) -> int | None:
        """Rows of the batch; None where the model does not batch."""
        if not self._signature.max_batch_size:
            return None
        return next((shape[0] for shape in inputs if shape), None)

    def _sizes(self, inputs: Shapes) -> dict[str, int]:
        """The sizes that the inputs give to symbols."""
        return {
            dim.symbol: size
            for spec, shape in zip(self._signature.inputs, inputs, strict=True)
            if shape is not None
            for dim, size in zip(spec.dims or (), shape, strict=False)
            if isinstance(dim, Axis)
        }


def _bound(spec: TensorSpec, sizes: dict[str, int], rows: int | None) -> tuple[int, ...] | None:
    """The one shape that fits, None if several do."""
    if spec.dims is None:
        return None
    shape = TensorSpec("", "", spec.dims if rows is None else spec.dims[1:]).bound_shape(sizes)
    return shape if shape is None or rows is None else (rows, *shape)


def _within(axis: Axis, size: int) -> bool:
    return axis.min <= size and (axis.max is None or size <= axis.max)


def _datatype(value: Value) -> str | None:
    return "BYTES" if isinstance(value, np.ndarray) else DATATYPE_NAMES.get(value.dtype)


def _told(spec: TensorSpec) -> str:
    if spec.dims is None:
        return f"{spec.datatype}, any shape"
    dims = (dim.symbol if isinstance(dim, Axis) else str(dim) for dim in spec.dims)
    return f"{spec.datatype} [{', '.join(dims)}]"
