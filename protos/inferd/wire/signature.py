"""What a model takes and gives: names, datatypes and dimensions of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from inferd.wire.dtypes import DATATYPES


@dataclass(frozen=True, slots=True)
class Axis:
    """A free dimension. Dimensions with the same `symbol` are equal within one request.

    `max` is None where the model sets no bound.
    """

    symbol: str
    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    `dims` is the full shape, the batch dimension first where the model batches; None means any
    rank and any shape. `datatype` may be `ANY` together with `dims=None`.
    """

    name: str
    datatype: str
    dims: tuple[int | Axis, ...] | None
    optional: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with -1 for every free dimension; (-1,) when the rank is free."""
        if self.dims is None:
            return (-1,)
        return tuple(-1 if isinstance(dim, Axis) else dim for dim in self.dims)

    def bound_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
        """The shape under the given sizes of symbols; None if one of them is not known."""
        if self.dims is None:
            return None
        shape = []
        for dim in self.dims:
            size = sizes.get(dim.symbol) if isinstance(dim, Axis) else dim
            if size is None:
                return None
            shape.append(size)
        return tuple(shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of one model version.

    `max_batch_size` is 0 for a model that takes one request at a time; otherwise every input and
    output has the batch as its first dimension, and that many rows fit in one execution.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0


def byte_size(datatype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of fixed-size elements. Unbounded integers: no overflow. 0 for BYTES."""
    return DATATYPES[datatype].itemsize * prod(shape)
