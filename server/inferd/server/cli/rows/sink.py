"""The finished output: .parquet, .csv, .jsonl, .npy or .npz, there as a whole or not at all."""

from __future__ import annotations

import csv
import importlib.util
import json
import zipfile
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.client.inputs import UsageError
from inferd.server.cli.rows.journal import Journal
from inferd.server.cli.rows.source import PYARROW_MISSING
from inferd.wire.signature import TensorSpec

Array = npt.NDArray[Any]

ROW = "row"
"""Column with the number of the input's row, from 1."""


def check_sink(path: Path, outputs: Sequence[TensorSpec] = ()) -> None:
    """Raise `UsageError` for a kind of file that cannot be written here, or not with these outputs."""
    if path.suffix not in _WRITERS:
        raise UsageError(f"--output {path} is none of {', '.join(_WRITERS)}")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    if path.suffix == ".npy" and len(outputs) > 1:
        names = ", ".join(each.name for each in outputs)
        raise UsageError(f"an .npy file holds one output, the model gives {names}; take .npz")
    if path.suffix in {".npy", ".npz"} and any(each.datatype == "BYTES" for each in outputs):
        raise UsageError(
            "the model gives text, which numpy's files do not hold; take .parquet, .csv or .jsonl"
        )
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(PYARROW_MISSING)


def write_output(path: Path, journal: Journal) -> None:
    """Write what was answered; the file takes its name when it is complete."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        _WRITERS[path.suffix](temporary, journal)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_csv(path: Path, journal: Journal) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names = [ROW]
        for name, _, shape in journal.state.outputs:
            names += [f"{name}.{at}" for at in range(prod(shape))] if shape else [name]
        writer.writerow(names)
        for numbers, outputs in journal.blocks():
            flat = [_plain(each.reshape(len(each), -1)) for each in outputs.values()]
            for at, number in enumerate(numbers.tolist()):
                writer.writerow([number, *[value for each in flat for value in each[at]]])


def _write_json_lines(path: Path, journal: Journal) -> None:
    with path.open("w", encoding="utf-8") as file:
        for numbers, outputs in journal.blocks():
            plain = {name: _plain(each) for name, each in outputs.items()}
            for at, number in enumerate(numbers.tolist()):
                row = {ROW: number, **{name: each[at] for name, each in plain.items()}}
                file.write(json.dumps(row) + "\n")


def _write_npy(path: Path, journal: Journal) -> None:
    outputs = journal.state.outputs
    with path.open("wb") as file:
        if outputs:
            (name, _, _) = outputs[0]
            _write_array(file, journal, name)
        else:
            np.lib.format.write_array(file, np.empty(0))


def _write_npz(path: Path, journal: Journal) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (ROW, *[name for name, _, _ in journal.state.outputs]):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_array(file, journal, name)


def _write_array(file: Any, journal: Journal, name: str) -> None:
    kinds = {each: (kind, shape) for each, kind, shape in journal.state.outputs}
    kind, shape = kinds.get(name, ("<i8", []))
    head = {"descr": kind, "fortran_order": False, "shape": (journal.state.answered, *shape)}
    np.lib.format.write_array_header_2_0(file, head)
    for numbers, outputs in journal.blocks():
        file.write((numbers if name == ROW and name not in kinds else outputs[name]).tobytes())


def _write_parquet(path: Path, journal: Journal) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    fields = [pa.field(ROW, pa.int64())]
    for name, kind, shape in journal.state.outputs:
        element = pa.binary() if kind == "text" else pa.from_numpy_dtype(np.dtype(kind))
        fields.append(pa.field(name, pa.list_(element, prod(shape)) if shape else element))
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema) as writer:
        for numbers, outputs in journal.blocks():
            columns = [pa.array(numbers)]
            for field, array in zip(fields[1:], outputs.values(), strict=True):
                flat = pa.array(
                    array.reshape(-1), field.type.value_type if array.ndim > 1 else None
                )
                wide = array.ndim > 1
                columns.append(
                    pa.FixedSizeListArray.from_arrays(flat, type=field.type) if wide else flat
                )
            writer.write_batch(pa.record_batch(columns, schema=schema))


_WRITERS: dict[str, Callable[[Path, Journal], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".npy": _write_npy,
    ".npz": _write_npz,
}


def _plain(array: Array) -> list[Any]:
    if array.dtype.kind == "O":
        array = np.frompyfunc(lambda each: each.decode("utf-8", "backslashreplace"), 1, 1)(array)
    found: list[Any] = array.tolist()
    return found
