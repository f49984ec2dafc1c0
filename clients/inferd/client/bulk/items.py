"""From what is mapped to requests: items as they are given, or large arrays cut into rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from inferd.client.codec.calls import Call
from inferd.client.codec.infer import Options, infer
from inferd.client.codec.values import is_torch
from inferd.client.errors import InferenceError, invalid
from inferd.client.metadata import ModelMetadata
from inferd.client.prediction import Prediction

CHUNK_BYTES = 256 << 10
"""What a chunk cut from an array has at most: enough for many batches, little to copy at once."""

MOST_ROWS = 1024


def items_of(given: Any, rows: int | None) -> Iterable[Any]:
    """The items of an iterable; an array, or a mapping of arrays, in chunks of `rows` rows.

    Without `rows` chunks have up to 256 KiB. Raises `InvalidInput` for arrays of different lengths.
    """
    if isinstance(given, Mapping):
        return _cut(dict(given), rows)
    if _is_array(given):
        return (each[""] for each in _cut({"": given}, rows))
    return given  # type: ignore[no-any-return]  # checked by iterating


def request_of(
    metadata: ModelMetadata, version: str, item: Any, options: Options
) -> Call[Prediction] | InferenceError:
    """The request of one item: a tuple holds inputs by position, a mapping by name.

    The error that it would be answered with, where it does not fit the model.
    """
    positional = item if isinstance(item, tuple) else (item,)
    try:
        return infer(metadata, version, positional, {}, options)
    except InferenceError as error:
        return error


def _is_array(given: Any) -> bool:
    return isinstance(given, np.ndarray) or is_torch(given)


def _cut(columns: Mapping[str, Any], rows: int | None) -> Iterator[dict[str, Any]]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"'{name}' has {count}" for name, count in lengths.items())
        raise invalid(f"the arrays must have equally many rows: {counted}")
    total = next(iter(lengths.values()), 0)
    step = rows or _fitting(columns.values(), total)
    for at in range(0, total, step):
        yield {name: column[at : at + step] for name, column in columns.items()}


def _fitting(columns: Iterable[Any], total: int) -> int:
    nbytes = sum(int(getattr(each, "nbytes", 0)) for each in columns)
    if not total or not nbytes:
        return MOST_ROWS
    return max(1, min(MOST_ROWS, CHUNK_BYTES * total // nbytes))
