"""Values on the command line: JSON, text, files and random ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inferd.client.codec.arguments import read_arguments
from inferd.client.inputs import (
    InputValues,
    UsageError,
    name_values,
    random_values,
    read_values,
)
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import Axis, Signature, TensorSpec

ONE = Signature((TensorSpec("x", "FP32", (Axis("batch"), 2)),), (), 8)
TWO = Signature((*ONE.inputs, TensorSpec("y", "INT64", (Axis("batch"),))), (), 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[1, 2.5]]", [[1, 2.5]]),
        ("x=[[1, 2]]", [[1, 2]]),
        ("x=3", 3),
        ("x=true", True),
        ("x=hello world", "hello world"),
        ('x=["a=b"]', ["a=b"]),
        ("x=a=b", "a=b"),
        ("x=", ""),
    ],
)
def test_values_are_json_or_text(text: str, value: object) -> None:
    """NAME= is taken off once; the rest is JSON, or text where it is no JSON."""
    values = read_values([text])
    found = values.named["x"] if text.startswith("x=") else values.unnamed[0]
    assert found == value


def test_files_hold_one_value_or_inputs_by_name(tmp_path: Path) -> None:
    """.npy is one array; .npz and a JSON object are inputs by name; NAME= picks one of them."""
    array = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array, y=array + 1)
    (tmp_path / "a.json").write_text(json.dumps({"x": [[1, 2]]}))
    (tmp_path / "list.json").write_text("[[1, 2]]")
    assert np.array_equal(read_values([f"x=@{tmp_path}/a.npy"]).named["x"], array)  # type: ignore[arg-type] # an array
    assert set(read_values([f"@{tmp_path}/a.npz"]).named) == {"x", "y"}
    assert read_values([f"@{tmp_path}/a.json"]).named == {"x": [[1, 2]]}
    assert read_values([f"x=@{tmp_path}/a.json"]).named == {"x": [[1, 2]]}
    assert read_values([f"@{tmp_path}/list.json"]).unnamed == [[[1, 2]]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["[1, 2"], "is not JSON"),
        (["x=1", "x=2"], "'x' was given twice"),
        (["@absent.npy"], "cannot be read: No such file"),
        (["@model.bin"], "none of .npy, .npz, .json"),
        (["@broken.npy"], "is no .npy file"),
        (["@broken.npz"], "is no .npz file"),
        (["@broken.json"], "is no .json file"),
        (["@pickled.npy"], "is no .npy file"),
        (["z=@object.json"], "no 'z' among x"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(
    texts: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every mistake says which value it is in; pickles in .npy files are never loaded."""
    monkeypatch.chdir(tmp_path)
    for suffix in ("npy", "npz", "json"):
        (tmp_path / f"broken.{suffix}").write_bytes(b"nonsense")
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "object.json").write_text('{"x": 1}')
    with pytest.raises(UsageError, match=message):
        read_values(texts)


def test_a_value_without_a_name_is_the_only_inputs() -> None:
    """Where the model has one input the name may be left out; where it has two it may not."""
    values = InputValues(unnamed=[[1]])
    assert name_values(values, "m", ONE) == {"x": [1]}
    with pytest.raises(UsageError, match="'m' takes x, y: expected --input x=VALUE"):
        name_values(values, "m", TWO)
    with pytest.raises(UsageError, match="has no name"):
        name_values(InputValues(unnamed=[1, 2]), "m", ONE)
    with pytest.raises(UsageError, match=r"expected --input x=\.\.\. --input y=\.\.\., or"):
        name_values(InputValues(), "m", TWO)


@pytest.mark.parametrize("datatype", [*DATATYPES, "ANY"])
def test_random_values_fit_every_signature(datatype: str) -> None:
    """Random values pass the client's own checks, have the rows asked for and never change."""
    dims = None if datatype == "ANY" else (Axis("batch"), 3, Axis("length"))
    extra = TensorSpec("extra", "FP32", (Axis("batch"),), optional=True)
    signature = Signature((TensorSpec("x", datatype, dims), extra), (), 64)
    values = random_values(signature, 4)
    read = read_arguments("m", signature, (), values).values
    assert list(read) == ["x"]
    assert read["x"].shape[0] == 4
    assert str(values) == str(random_values(signature, 4))
