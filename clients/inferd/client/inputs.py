"""Values of a model's inputs as a command line gives them: JSON, files, or made at random."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from inferd.client.prediction import ParameterValue
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import Signature, TensorSpec

FREE_DIMENSION = 8
"""Size that random inputs have in a free dimension other than the batch."""

SEED = 0

_NAMED = re.compile(r"([A-Za-z_][\w./-]*)=(.*)", re.DOTALL)


class UsageError(ValueError):
    """The command line cannot be followed; the message says what was expected."""


@dataclass(slots=True)
class InputValues:
    """What was given: by name, or `unnamed` for the input of a model that has only one."""

    named: dict[str, object] = field(default_factory=dict)
    unnamed: list[object] = field(default_factory=list)


def read_values(texts: Sequence[str]) -> InputValues:
    """The values of `NAME=VALUE` and `VALUE` texts.

    A VALUE is JSON, plain text, or @FILE (.npy, .npz, .json); without a NAME, a JSON object and an
    .npz file hold inputs by name. Raises `UsageError`.
    """
    values = InputValues()
    for text in texts:
        found = _NAMED.fullmatch(text)
        name, value = found.groups() if found else (None, text)
        read = _from_file(Path(value[1:])) if value.startswith("@") else _from_text(value)
        if name is None and isinstance(read, Mapping):
            for each, array in read.items():
                _put(values, each, array)
        elif name is None:
            values.unnamed.append(read)
        else:
            _put(values, name, _pick(name, read))
    return values


def read_parameters(texts: Sequence[str]) -> dict[str, ParameterValue]:
    """The request parameters of `NAME=VALUE` texts. Raises `UsageError`."""
    parameters: dict[str, ParameterValue] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--parameter {text}: expected NAME=VALUE")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        parameters[name] = read if isinstance(read, bool | int | float | str) else value
    return parameters


def name_values(values: InputValues, model: str, signature: Signature) -> dict[str, object]:
    """All values by name: one without a name belongs to the model's only input.

    Raises `UsageError` where that leaves a choice, or nothing was given.
    """
    names = [spec.name for spec in signature.inputs]
    named = dict(values.named)
    if not named and not values.unnamed and names:
        example = " ".join(f"--input {name}=..." for name in names)
        raise UsageError(f"no input was given; expected {example}, or --random")
    if values.unnamed and (len(names) != 1 or len(values.unnamed) > 1 or named):
        raise UsageError(
            f"an input has no name; model '{model}' takes {', '.join(names)}: "
            f"expected --input {names[0] if names else 'NAME'}=VALUE"
        )
    for value in values.unnamed:
        named[names[0]] = value
    return named


def random_values(
    signature: Signature,
    rows: int,
    *,
    seed: int = SEED,
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    free: int = FREE_DIMENSION,
) -> dict[str, object]:
    """Random values that fit the signature: the same ones for the same seed.

    Inputs named in `shapes` have that shape; in the others a free dimension has the size `free`,
    or `rows` where it is the batch. Optional inputs are left out unless `shapes` names them.
    """
    rng = np.random.default_rng(seed)
    values: dict[str, object] = {}
    for spec in signature.inputs:
        if spec.name in shapes:
            values[spec.name] = _random(rng, spec, shapes[spec.name])
        elif not spec.optional:
            shape = _shape(spec, signature.max_batch_size, rows, free)
            values[spec.name] = _random(rng, spec, shape)
    return values


def _from_text(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if text.startswith(("[", "{", '"')):
            raise UsageError(f"{_short(text)} is not JSON: {error}") from error
        return text  # words need no quotes


def _from_file(path: Path) -> object:
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise UsageError(f"@{path} is none of {', '.join(_READERS)}")
    try:
        return reader(path)
    except OSError as error:
        raise UsageError(f"@{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise UsageError(f"@{path} is no {path.suffix} file: {error}") from error


def _load_npy(path: Path) -> object:
    return np.load(path)


def _load_npz(path: Path) -> object:
    with np.load(path) as arrays:
        return dict(arrays)


def _load_json(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


_READERS: dict[str, Callable[[Path], object]] = {
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".json": _load_json,
}


def _pick(name: str, read: object) -> object:
    """The value of the input `name` in a file of inputs by name, or the value itself."""
    if not isinstance(read, Mapping):
        return read
    if name not in read:
        raise UsageError(f"there is no '{name}' among {', '.join(map(str, read)) or 'no values'}")
    return read[name]


def _put(values: InputValues, name: str, value: object) -> None:
    if name in values.named:
        raise UsageError(f"input '{name}' was given twice")
    values.named[name] = value


def _shape(spec: TensorSpec, max_batch_size: int, rows: int, free: int) -> tuple[int, ...]:
    if spec.dims is None:
        return (rows, free)
    sizes = [free if size < 0 else size for size in spec.shape]
    if sizes and spec.shape[0] < 0 and max_batch_size > 0:
        sizes[0] = rows
    return tuple(sizes)


def _random(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Floats are normal, bytes 0 to 255, other integers 0 to 9: ids that an embedding may have."""
    if spec.datatype == "BYTES":
        words = np.array([b"red", b"green", b"blue"], dtype=np.object_)
        return words[rng.integers(0, len(words), shape)]
    if spec.datatype in ("BF16", "FP32") or spec.datatype not in DATATYPES:
        return rng.standard_normal(shape).astype(np.float32)
    dtype = np.dtype(DATATYPES[spec.datatype].numpy)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limit = {"b": 2, "u": 256 if dtype.itemsize == 1 else 10}.get(dtype.kind, 10)
    return rng.integers(0, limit, shape).astype(dtype)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
