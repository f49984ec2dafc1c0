"""Files of rows: what is read, how it becomes inputs, what a crash leaves, what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from inferd.client.inputs import UsageError
from inferd.server.cli.rows.columns import convert, match_columns
from inferd.server.cli.rows.journal import Journal
from inferd.server.cli.rows.sink import check_sink, write_output
from inferd.server.cli.rows.source import Source, open_source
from inferd.wire.signature import Axis, Signature, TensorSpec

SIGNATURE = Signature(
    (
        TensorSpec("x", "FP32", (Axis("batch"), 3)),
        TensorSpec("n", "INT32", (Axis("batch"),)),
    ),
    (TensorSpec("y", "FP32", (Axis("batch"), 2)),),
    max_batch_size=8,
)

ROWS: list[dict[str, Any]] = [{"x": [k + 0.5, k, -k], "n": k} for k in range(7)]


def write(path: Path) -> Path:
    """The rows in a file of this kind."""
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["n", "x.0", "x.1", "x.2", "beside"])
            writer.writerows([each["n"], *each["x"], "text"] for each in ROWS)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(each) + "\n\n" for each in ROWS))
    elif path.suffix == ".npz":
        np.savez(path, x=[each["x"] for each in ROWS], n=[each["n"] for each in ROWS])
    else:
        parquet.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=3)
    return path


def read(source: Source, first: int, rows: int) -> list[Any]:
    """All rows from one on: number, line and values."""
    inputs = match_columns(SIGNATURE, "m", source.columns, {})
    found = []
    for block in source.blocks(first, rows):
        values, good, bad = convert(block, inputs)
        assert (good, bad) == (list(range(block.rows)), {})
        assert values["x"].dtype == np.float32
        assert values["n"].dtype == np.int32
        rows_of = zip(values["x"].tolist(), values["n"].tolist(), strict=True)
        found += [(block.first + at, *each) for at, each in enumerate(rows_of)]
    return found


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz", ".parquet"])
@pytest.mark.parametrize("first", [0, 2, 3, 6, 7])
def test_every_kind_is_read_from_any_row(tmp_path: Path, suffix: str, first: int) -> None:
    """In blocks, the same rows from each kind, numbers cast to what the model takes."""
    source = open_source(write(tmp_path / f"rows{suffix}"))
    expected = [(at, *each.values()) for at, each in enumerate(ROWS)][first:]
    assert read(source, first, 2) == expected
    assert source.total is not None
    assert source.total >= len(ROWS)


def test_an_array_without_a_name_is_the_only_input(tmp_path: Path) -> None:
    """A model with two inputs cannot have it."""
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    source = open_source(tmp_path / "x.npy")
    lone = Signature(SIGNATURE.inputs[:1], SIGNATURE.outputs, max_batch_size=8)
    (block,) = source.blocks(0, 10)
    values, _, _ = convert(block, match_columns(lone, "m", source.columns, {}))
    assert values["x"].shape == (5, 3)
    with pytest.raises(UsageError, match="one array without a name"):
        match_columns(SIGNATURE, "m", source.columns, {})


def test_columns_may_be_named_and_what_does_not_match_is_told(tmp_path: Path) -> None:
    """The message names what the file has and what to type."""
    source = open_source(write(tmp_path / "rows.csv"))
    given = {"x": ["x.2", "x.1", "x.0"]}
    (block,) = source.blocks(0, 10)
    values, _, _ = convert(block, match_columns(SIGNATURE, "m", source.columns, given))
    assert values["x"][1].tolist() == [-1, 1, 1.5]
    for wrong, text in (
        ({"x": ["absent"]}, "no column 'absent'"),
        ({"z": ["n"]}, "--column z=...: model 'm' takes x, n"),
    ):
        with pytest.raises(UsageError, match=text):
            match_columns(SIGNATURE, "m", source.columns, wrong)
    with pytest.raises(UsageError, match=r"'x.0' to 'x.2'.*--column x="):
        match_columns(SIGNATURE, "m", ["n", "a"], {})
    unbatched = Signature(SIGNATURE.inputs, SIGNATURE.outputs)
    with pytest.raises(UsageError, match="does not batch"):
        match_columns(unbatched, "m", source.columns, {})


def test_bad_rows_are_named_one_by_one(tmp_path: Path) -> None:
    """Each with its line and the reason; the rows around them are good."""
    lines = [json.dumps(each) for each in ROWS]
    lines[1] = "{"
    lines[2] = '{"x": [1, 2], "n": 1}'
    lines[3] = '{"x": [1, 2, "three"], "n": 1}'
    lines[4] = '{"x": [1, 2, 3], "n": 1.5}'
    lines[5] = '{"x": [1, 2, 3]}'
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    source = open_source(tmp_path / "rows.jsonl")
    (block,) = source.blocks(0, 100)
    values, good, bad = convert(block, match_columns(SIGNATURE, "m", source.columns, {}))
    assert good == [0, 6]
    assert values["n"].tolist() == [0, 6]
    assert sorted(bad) == [1, 2, 3, 4, 5]
    for at, word in ((1, "no JSON"), (2, "takes [3]"), (4, "INT32"), (5, "no value")):
        assert word in bad[at], bad[at]
    assert [block.lines[at] for at in (0, 6)] == [1, 7]


def test_a_csv_line_with_too_few_values_is_bad(tmp_path: Path) -> None:
    """And one whose number is none; lines count as an editor counts them."""
    text = 'n,x.0,x.1,x.2,s\n1,1,1,1,"two\nlines"\n2,2\n3,3,x,3,s\n4,4,4,4,s\n'
    (tmp_path / "rows.csv").write_text(text)
    source = open_source(tmp_path / "rows.csv")
    (block,) = source.blocks(0, 100)
    _, good, bad = convert(block, match_columns(SIGNATURE, "m", source.columns, {}))
    assert (good, sorted(bad), list(block.lines)) == ([0, 3], [1, 2], [3, 4, 5, 6])
    assert "'x'" in bad[2]


def test_what_a_crash_leaves_half_written_is_cut(tmp_path: Path) -> None:
    """What was saved stays, what came after it is written anew; another job is refused."""
    output = tmp_path / "out.jsonl"
    journal = Journal(output, {"input": "a"})
    journal.append([1, 2], {"y": np.ones((2, 2), np.float32), "t": np.array([b"a", b"bc"], object)})
    journal.reject(3, 4, "bad", {"x": np.float32(1)})
    journal.advance(3, "token", 1)
    journal.append([4], {"y": np.zeros((1, 2), np.float32), "t": np.array([b"lost"], object)})
    journal.save()  # as Ctrl-C does amid a block
    journal.close()
    with pytest.raises(UsageError, match="another one"):
        Journal(output, {"input": "b"})
    again = Journal(output, {"input": "a"})
    state = again.state
    assert (state.next_row, state.token, state.chunks) == (3, "token", 1)
    assert (state.answered, state.rejected) == (2, 1)
    again.append([4], {"y": np.full((1, 2), 7, np.float32), "t": np.array([b"d"], object)})
    again.advance(4, "token", 2)
    again.save()
    again.close()
    write_output(output, again)
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"row": 1, "y": [1, 1], "t": "a"},
        {"row": 2, "y": [1, 1], "t": "bc"},
        {"row": 4, "y": [7, 7], "t": "d"},
    ]
    assert [json.loads(line)["row"] for line in again.rejects.read_text().splitlines()] == [3]
    again.remove()
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
    assert Journal(output, {"input": "b"}, restart=True).state.next_row == 0


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz", ".parquet", ".npy"])
def test_every_kind_is_written(tmp_path: Path, suffix: str) -> None:
    """Rows of numbers with the numbers of their input's rows, and no file before it is whole."""
    path = tmp_path / f"out{suffix}"
    journal = Journal(path, {})
    given = np.arange(20_000, dtype=np.float32).reshape(-1, 2)
    journal.append(list(range(1, 10_001)), {"y": given})
    journal.advance(10_000, "", 1)
    journal.save()
    write_output(path, journal)
    if suffix == ".csv":
        head, *rows = list(csv.reader(path.read_text().splitlines()))
        assert head == ["row", "y.0", "y.1"]
        found = np.array(rows, np.float32)
    elif suffix == ".jsonl":
        documents = [json.loads(line) for line in path.read_text().splitlines()]
        found = np.array([[each["row"], *each["y"]] for each in documents], np.float32)
    elif suffix == ".npy":
        found = np.column_stack([np.arange(1, 10_001), np.load(path)])
    elif suffix == ".npz":
        with np.load(path) as arrays:
            found = np.column_stack([arrays["row"], arrays["y"]])
    else:
        table = parquet.read_table(path).to_pydict()
        found = np.column_stack([table["row"], table["y"]])
    assert np.array_equal(found, np.column_stack([np.arange(1, 10_001), given]))


def test_what_cannot_be_read_or_written_is_told_before(tmp_path: Path) -> None:
    """Kinds, folders, absent and broken files, several outputs for one array, text for numpy."""
    (tmp_path / "broken.npy").write_bytes(b"no")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    for name in ("rows.xlsx", "absent.csv", "broken.npy", "broken.parquet", "twice.csv"):
        with pytest.raises(UsageError, match=r"rows|absent|broken|twice"):
            open_source(tmp_path / name)
    text = TensorSpec("t", "BYTES", (Axis("batch"),))
    for name, outputs in (
        ("out.txt", ()),
        ("absent/out.csv", ()),
        ("out.npy", (*SIGNATURE.outputs, text)),
        ("out.npz", (text,)),
    ):
        with pytest.raises(UsageError):
            check_sink(tmp_path / name, outputs)
