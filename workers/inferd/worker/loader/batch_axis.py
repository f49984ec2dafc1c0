"""Which dimension of a signature is the batch, and how many rows it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, Signature, TensorSpec

BATCH = "batch"
"""The symbol of the first dimension of a model that batches."""

MOST_ROWS = 1024
ROWS_WITHOUT_BOUND = 32
"""Rows of a batch where the program sets no bound, or one above `MOST_ROWS`."""


def with_batch(signature: Signature, declared: int | None, *, guarded: bool = False) -> Signature:
    """The signature with its batch, if it has one.

    The batch is the one free dimension that comes first in every input and output, stands nowhere
    else and begins at 1. `declared` is the operator's `max_batch_size`, None to take it from the
    signature. A `guarded` program has further conditions on its sizes, which rows of several
    callers together could break: it gets no batch.

    Raises `LoadFailed` if what was declared cannot be had.
    """
    axis = _batch_axis(signature)
    if axis is None or axis.min > 1 or guarded:
        if declared:
            raise LoadFailed(
                f"max_batch_size = {declared} is not possible: {_obstacle(axis)}; export the model "
                f"with one dynamic first dimension from 1 on, or set max_batch_size = 0"
            )
        return signature
    if declared == 0:
        return signature
    if declared and axis.max is not None and declared > axis.max:
        raise LoadFailed(
            f"max_batch_size = {declared} is too large: the program was exported for at most "
            f"{axis.max} rows"
        )
    bound = axis.max if axis.max is not None and axis.max <= MOST_ROWS else ROWS_WITHOUT_BOUND
    batch = Axis(_free_symbol(signature), 1, axis.max)
    return replace(_with_axis(signature, axis.symbol, batch), max_batch_size=declared or bound)


def with_minimum(signature: Signature, symbol: str, least: int) -> Signature:
    """The signature with another minimum for every dimension of this symbol."""
    axis = next(axis for axis in axes_of(_specs(signature)) if axis.symbol == symbol)
    return _with_axis(signature, symbol, replace(axis, min=least))


def axes_of(specs: Iterable[TensorSpec]) -> list[Axis]:
    """Every free dimension, once per occurrence."""
    return [dim for spec in specs for dim in spec.dims or () if isinstance(dim, Axis)]


def _batch_axis(signature: Signature) -> Axis | None:
    """The free dimension that comes first everywhere, and nowhere else."""
    firsts: set[Axis] = set()
    others: list[Axis] = []
    for spec in _specs(signature):
        if not spec.dims or not isinstance(spec.dims[0], Axis):
            return None
        firsts.add(spec.dims[0])
        others += axes_of([spec])[1:]
    if len(firsts) != 1 or not signature.inputs:
        return None
    batch = firsts.pop()
    # As a whole word: the batch may also hide in a derived dimension such as 2*s0.
    word = re.compile(rf"\b{re.escape(batch.symbol)}\b")
    if not batch.symbol.isidentifier() or any(word.search(axis.symbol) for axis in others):
        return None
    return batch


def _obstacle(axis: Axis | None) -> str:
    if axis is None:
        return "the first dimensions of the program's tensors are not all the same free dimension"
    if axis.min > 1:
        return f"the program takes no fewer than {axis.min} rows"
    return "the program was exported with conditions on its sizes"


def _free_symbol(signature: Signature) -> str:
    """A readable symbol that no other dimension has."""
    taken = {axis.symbol for axis in axes_of(_specs(signature))}
    return BATCH if BATCH not in taken else f"{BATCH}_rows"


def _with_axis(signature: Signature, symbol: str, axis: Axis) -> Signature:
    def changed(spec: TensorSpec) -> TensorSpec:
        if spec.dims is None:
            return spec
        dims = (
            axis if isinstance(dim, Axis) and dim.symbol == symbol else dim for dim in spec.dims
        )
        return replace(spec, dims=tuple(dims))

    return replace(
        signature,
        inputs=tuple(map(changed, signature.inputs)),
        outputs=tuple(map(changed, signature.outputs)),
    )


def _specs(signature: Signature) -> tuple[TensorSpec, ...]:
    return (*signature.inputs, *signature.outputs)
