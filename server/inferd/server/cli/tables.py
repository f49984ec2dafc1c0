"""Tensors and signatures as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.wire.signature import Axis, Signature, TensorSpec

ROWS_SHOWN = 5
TOP_SHOWN = 5

Array = npt.NDArray[Any]


def signature_lines(signature: Signature) -> list[str]:
    """What a model takes and gives, one tensor per line, in columns."""
    rows = [
        *(("input", spec) for spec in signature.inputs),
        *(("output", spec) for spec in signature.outputs),
    ]
    batch = signature.max_batch_size
    lines = columns(
        [
            (kind, spec.name, spec.datatype, shape_text(spec), "optional" * spec.optional)
            for kind, spec in rows
        ]
    )
    return [*lines, f"batches of up to {batch} rows" if batch else "no batching"]


def shape_text(spec: TensorSpec) -> str:
    """The shape with names and bounds of free dimensions, where they are known."""
    if spec.dims is None:
        return "any shape"
    return f"[{', '.join(_dimension(dim) for dim in spec.dims)}]"


def output_lines(name: str, datatype: str, array: Array) -> list[str]:
    """An output: what it is, and its values in the first rows."""
    lines = [f"{name}  {datatype} {list(array.shape)}"]
    if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] > 1:
        lines += [f"  row {at}  {_top(row)}" for at, row in enumerate(array[:ROWS_SHOWN])]
        if len(array) > ROWS_SHOWN:
            lines.append(f"  … {len(array) - ROWS_SHOWN} more rows")
    else:
        lines += [f"  {line}" for line in _values(array).splitlines()]
    return lines


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows with their cells one below the other; trailing blanks are cut."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _dimension(dim: int | Axis) -> str:
    if not isinstance(dim, Axis):
        return str(dim)
    # Symbols of exported programs say something; those made up from a position do not.
    name = dim.symbol if dim.symbol.isidentifier() else "any"
    if dim.max is None:
        return name
    return f"{name} {dim.min}..{dim.max}"


def _top(row: Array) -> str:
    """The largest values of a row, largest first, as `index: value`."""
    order = np.argsort(-np.nan_to_num(row, nan=-np.inf), kind="stable")[:TOP_SHOWN]
    shown = "  ".join(f"{at}: {row[at]:.4g}" for at in order)
    return shown if row.size <= TOP_SHOWN else f"{shown}  …"


def _values(array: Array) -> str:
    shown = np.asarray(np.frompyfunc(_text, 1, 1)(array)) if array.dtype.kind == "O" else array
    return np.array2string(shown, max_line_width=100, threshold=40, edgeitems=3)


def _text(element: object) -> str:
    text = element.decode("utf-8", "backslashreplace") if isinstance(element, bytes) else element
    return str(text)
