"""A file's columns as a model's inputs: matched by name, cast where nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.client.inputs import UsageError
from inferd.server.cli.rows.source import UNNAMED, Block
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import Signature, TensorSpec

Array = npt.NDArray[Any]

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class InputColumns:
    """Where the rows of one input stand: in one column, or each element in one of its own."""

    spec: TensorSpec
    columns: tuple[str, ...]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The input's shape without the batch; -1 stands for any size."""
        return self.spec.shape[1:]


def match_columns(
    signature: Signature, model: str, available: Sequence[str], given: Mapping[str, Sequence[str]]
) -> list[InputColumns]:
    """Where each input is: as `given` says, by its name, or as NAME.0, NAME.1 and so on.

    Raises `UsageError` for an input without a column, and for names that are none.
    """
    if not signature.max_batch_size:
        raise UsageError(f"model '{model}' does not batch: it takes no files of rows")
    names = [spec.name for spec in signature.inputs]
    if unknown := [name for name in given if name not in names]:
        raise UsageError(f"--column {unknown[0]}=...: model '{model}' takes {', '.join(names)}")
    found = []
    for spec in signature.inputs:
        columns = _columns_of(spec, available, given.get(spec.name), lone=len(names) == 1)
        if columns is None and not spec.optional:
            raise UsageError(_missing(spec, model, available))
        if columns is not None:
            found.append(InputColumns(spec, columns))
    return found


def convert(
    block: Block, inputs: Sequence[InputColumns]
) -> tuple[dict[str, Array], list[int], dict[int, str]]:
    """The inputs' rows that can be sent, their places in the block, and why the others cannot."""
    bad = dict(block.unreadable)
    if not bad:
        try:
            whole = {each.spec.name: _convert(each, block, None) for each in inputs}
        except (ValueError, TypeError, OverflowError):
            pass
        else:
            return whole, list(range(block.rows)), {}
    rows: dict[str, list[Array]] = {each.spec.name: [] for each in inputs}
    good: list[int] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for at in range(block.rows):
        if at in bad:
            continue
        try:
            row = {each.spec.name: _convert(each, block, at) for each in inputs}
            _check_shapes(row, shapes)
        except (ValueError, TypeError, OverflowError) as error:
            bad[at] = str(error)
            continue
        good.append(at)
        for name, array in row.items():
            rows[name].append(array)
    joined = {name: np.concatenate(each) for name, each in rows.items() if each}
    return joined, good, bad


def _check_shapes(row: Mapping[str, Array], shapes: dict[str, tuple[int, ...]]) -> None:
    for name, array in row.items():
        if shapes.setdefault(name, array.shape) != array.shape:
            raise ValueError(f"input '{name}' has another shape than in the rows before")


def _columns_of(
    spec: TensorSpec, available: Sequence[str], given: Sequence[str] | None, *, lone: bool
) -> tuple[str, ...] | None:
    if given is not None:
        columns = tuple(available) if list(given) == ["*"] else tuple(given)
        if absent := [each for each in columns if each not in available]:
            raise UsageError(
                f"--column {spec.name}={','.join(given)}: the file has no column "
                f"'{absent[0]}', it has {_listed(available)}"
            )
        return columns
    if spec.name in available:
        return (spec.name,)
    if list(available) == [UNNAMED] and lone:
        return (UNNAMED,)
    numbered: list[str] = []
    while f"{spec.name}.{len(numbered)}" in available:
        numbered.append(f"{spec.name}.{len(numbered)}")
    return tuple(numbered) or None


def _convert(each: InputColumns, block: Block, at: int | None) -> Array:
    """One input's rows, or only that at one place. Raises `ValueError` and the like."""
    place = slice(None) if at is None else slice(at, at + 1)
    shape = each.row_shape
    columns = [block.columns[name][place] for name in each.columns]
    if len(columns) == 1:
        array = _array(each.spec, columns[0], nested=bool(shape))
    else:
        array = np.stack([_array(each.spec, column, nested=False) for column in columns], axis=1)
    if len(shape) == 1 and array.ndim == 1 and shape[0] in (1, -1):
        array = array[:, None]
    if len(shape) > 1 and array.ndim == 2 and -1 not in shape and array.shape[1] == prod(shape):
        array = array.reshape(len(array), *shape)
    fits = array.ndim == 1 + len(shape) and all(
        want in (-1, got) for want, got in zip(shape, array.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"input '{each.spec.name}' takes {list(shape)} in each row, "
            f"there is {list(array.shape[1:])}"
        )
    return array


def _array(spec: TensorSpec, column: Any, *, nested: bool) -> Array:
    if isinstance(column, list):
        if nested and column and isinstance(column[0], str) and spec.datatype != "BYTES":
            column = [json.loads(each) for each in column]
        if any(each is None for each in column):
            raise ValueError(f"input '{spec.name}' has no value")
    if spec.datatype == "BYTES":
        return _text(spec, column)
    target = np.dtype(np.float32 if spec.datatype == "BF16" else DATATYPES[spec.datatype].numpy)
    array = np.asarray(column)
    if array.dtype.kind in "US":
        array = _numbers(spec, array, target)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"input '{spec.name}' takes {spec.datatype}, there is no number")
    if target.kind == "b" and array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        raise ValueError(f"input '{spec.name}' takes BOOL: 0 and 1, or true and false")
    with np.errstate(over="raise", invalid="ignore"):
        try:
            cast = array.astype(target)
        except FloatingPointError as error:
            raise ValueError(f"input '{spec.name}' has a number beyond {spec.datatype}") from error
    if target.kind in "iu" and not np.array_equal(cast, array):
        raise ValueError(f"input '{spec.name}' takes {spec.datatype}, there is another number")
    return cast


def _numbers(spec: TensorSpec, array: Array, target: np.dtype[Any]) -> Array:
    """Text as numbers."""
    try:
        if target.kind == "b":
            words = np.char.lower(array)
            return np.where(
                np.isin(words, ["true", "1"]), 1, np.where(np.isin(words, ["false", "0"]), 0, 2)
            )
        return array.astype(np.int64 if target.kind in "iu" else np.float64)
    except ValueError as error:
        shown = array.reshape(-1)[0] if array.size == 1 else "text"
        raise ValueError(
            f"input '{spec.name}' takes {spec.datatype}, there is {str(shown)[:40]!r}"
        ) from error


def _text(spec: TensorSpec, column: Any) -> Array:
    array = np.empty(len(column), np.object_)
    array[:] = [each.encode() if isinstance(each, str) else each for each in column]
    for each in array:
        if not isinstance(each, bytes):
            raise ValueError(f"input '{spec.name}' takes text, there is {str(each)[:40]!r}")  # noqa: TRY004  # bad rows are values
    return array


def _missing(spec: TensorSpec, model: str, available: Sequence[str]) -> str:
    shape = spec.shape[1:]
    numbered = ""
    if len(shape) == 1 and shape[0] > 1:
        numbered = f", or '{spec.name}.0' to '{spec.name}.{shape[0] - 1}'"
    return (
        f"model '{model}' takes '{spec.name}' ({spec.datatype} {list(shape)} in each row); the file "
        f"has {_listed(available)}. Name a column '{spec.name}'{numbered}, or say which: "
        f"--column {spec.name}=COLUMN[,COLUMN...]"
    )


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name}'" if name else "one array without a name" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
