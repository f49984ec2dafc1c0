"""Files of rows as blocks of columns: .parquet, .csv, .jsonl, .npy and .npz."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from inferd.client.inputs import UsageError

UNNAMED = ""
"""The column of a file that has one without a name."""


@dataclass(slots=True)
class Block:
    """Rows of a file: `columns` by name, each an array or a list with one element per row.

    `first` is the number of the first row, from 0; `lines` say where rows are for people, and
    `unreadable` why some, by their place in the block, are none.
    """

    first: int
    rows: int
    columns: Mapping[str, Any]
    lines: Sequence[int]
    unreadable: dict[int, str] = field(default_factory=dict)

    def row(self, at: int) -> dict[str, Any]:
        """One row's values as they stand in the file."""
        return {name: _plain(column[at]) for name, column in self.columns.items()}


class Source(ABC):
    """A file of rows. `total` counts them, None where that would take reading it."""

    columns: Sequence[str]
    total: int | None

    @abstractmethod
    def blocks(self, first: int, rows: int) -> Iterator[Block]:
        """Blocks of up to `rows` rows from row number `first` on. Raises `UsageError`."""


def open_source(path: Path) -> Source:
    """The file's rows. Raises `UsageError` for what cannot be read, or is of another kind."""
    kind = _KINDS.get(path.suffix)
    if kind is None:
        raise UsageError(f"--input {path} is none of {', '.join(_KINDS)}")
    try:
        return kind(path)
    except OSError as error:
        raise UsageError(f"--input {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--input {path} is no {path.suffix} file: {error}") from error


class _Text(Source):
    """A file of lines, of which about as many are counted as there are line ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self.total = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        with path.open(encoding="utf-8", newline="") as file:
            self.columns = self._names(file)

    @abstractmethod
    def _names(self, file: TextIO) -> Sequence[str]:
        """The columns' names, read from the start of the file."""


class _Csv(_Text):
    """Comma-separated values under a line of names; all values are text."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.total = None if self.total is None else max(0, self.total - 1)

    def _names(self, file: TextIO) -> Sequence[str]:
        names = next(csv.reader(file), [])
        if len(set(names)) != len(names) or not names:
            raise UsageError(
                f"--input {self._path}: the first line must name the columns, each once; "
                f"it has {', '.join(names[:8]) or 'none'}"
            )
        return names

    def blocks(self, first: int, rows: int) -> Iterator[Block]:
        """As `Source.blocks`."""
        with self._path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
            reader = csv.reader(file)
            next(reader)
            numbered = ((reader.line_num, row) for row in reader if row)
            at = first
            skipped = islice(numbered, first, None)
            while found := list(islice(skipped, rows)):
                yield self._block(at, found)
                at += len(found)

    def _block(self, first: int, found: list[tuple[int, list[str]]]) -> Block:
        width = len(self.columns)
        unreadable = {
            at: f"the line has {len(row)} values, the first one names {width} columns"
            for at, (_, row) in enumerate(found)
            if len(row) != width
        }
        whole = [row if len(row) == width else (row + [""] * width)[:width] for _, row in found]
        columns = dict(zip(self.columns, map(list, zip(*whole, strict=True)), strict=True))
        return Block(first, len(found), columns, [line for line, _ in found], unreadable)


class _JsonLines(_Text):
    """A JSON object on each line."""

    def _names(self, file: TextIO) -> Sequence[str]:
        for line in file:
            if line.strip():
                try:
                    document = json.loads(line)
                except json.JSONDecodeError:
                    continue  # a bad row; the next one may tell
                if isinstance(document, dict):
                    return list(document)
        return []

    def blocks(self, first: int, rows: int) -> Iterator[Block]:
        """As `Source.blocks`."""
        with self._path.open(encoding="utf-8", errors="surrogateescape") as file:
            numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
            at = first
            skipped = islice(numbered, first, None)
            while found := list(islice(skipped, rows)):
                documents, unreadable = [], {}
                for place, (_, line) in enumerate(found):
                    document, problem = _parsed(line)
                    documents.append(document)
                    if problem:
                        unreadable[place] = problem
                columns = {name: [each.get(name) for each in documents] for name in self.columns}
                yield Block(at, len(found), columns, [each for each, _ in found], unreadable)
                at += len(found)


class _Arrays(Source):
    """numpy's files: an array without a name, or several by name."""

    def __init__(self, path: Path) -> None:
        self._path = path if path.suffix == ".npy" else None
        loaded = np.load(path, mmap_mode="r" if self._path else None)
        self._arrays = {UNNAMED: loaded} if self._path else dict(loaded)
        lengths = {name: len(each) for name, each in self._arrays.items()}
        if len(set(lengths.values())) != 1:
            raise UsageError(f"--input {path}: its arrays have different lengths: {lengths}")
        self.columns = list(self._arrays)
        self._rows = next(iter(lengths.values()))
        self.total = self._rows
        if self._path:
            self._arrays = {}

    def blocks(self, first: int, rows: int) -> Iterator[Block]:
        """As `Source.blocks`."""
        for at in range(first, self._rows, rows):
            behind = min(at + rows, self._rows)
            # Mapped anew each time: what has been read of a large file does not stay in memory.
            arrays = {UNNAMED: np.load(self._path, mmap_mode="r")} if self._path else self._arrays
            columns = {name: np.array(each[at:behind]) for name, each in arrays.items()}
            yield Block(at, behind - at, columns, range(at + 1, behind + 1))


class _Parquet(Source):
    """Apache Parquet; needs pyarrow."""

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowInvalid, parquet
        except ImportError as error:
            raise UsageError(PYARROW_MISSING) from error
        try:
            self._file = parquet.ParquetFile(path)
        except ArrowInvalid as error:
            raise UsageError(f"--input {path} is no .parquet file: {error}") from error
        self.columns = self._file.schema_arrow.names
        self.total = self._file.metadata.num_rows

    def blocks(self, first: int, rows: int) -> Iterator[Block]:
        """As `Source.blocks`."""
        groups: list[int] = []
        before = 0
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            if before + size > first or groups:
                groups.append(group)
            else:
                before += size
        at = before
        for batch in self._file.iter_batches(rows, row_groups=groups):
            lines = range(at + 1, at + 1 + batch.num_rows)
            skip = max(0, min(first - at, batch.num_rows))
            at += batch.num_rows
            kept = batch.slice(skip)
            if kept.num_rows:
                columns = {
                    name: _from_arrow(column)
                    for name, column in zip(batch.schema.names, kept.columns, strict=True)
                }
                yield Block(lines[skip] - 1, kept.num_rows, columns, lines[skip:])


PYARROW_MISSING = "files of kind .parquet need pyarrow: pip install 'inferd[run]'"

_KINDS: dict[str, Callable[[Path], Source]] = {
    ".parquet": _Parquet,
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".npy": _Arrays,
    ".npz": _Arrays,
}


def _parsed(line: str) -> tuple[dict[str, Any], str]:
    try:
        document = json.loads(line)
    except json.JSONDecodeError as error:
        return {}, f"the line is no JSON: {error}"
    if not isinstance(document, dict):
        return {}, "the line is no JSON object"
    return document, ""


def _from_arrow(column: Any) -> Any:
    """A column as an array where all its values are numbers, or lists of as many; else a list."""
    import pyarrow as pa

    kind = column.type
    if column.null_count:
        return column.to_pylist()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        flat = column.flatten()
        width, rest = divmod(len(flat), len(column))
        lengths = np.diff(column.offsets.to_numpy()) if hasattr(column, "offsets") else width
        if not rest and not flat.null_count and np.all(lengths == width) and _numeric(flat.type):
            return flat.to_numpy(zero_copy_only=False).reshape(len(column), width)
        return column.to_pylist()
    return column.to_numpy(zero_copy_only=False) if _numeric(kind) else column.to_pylist()


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
