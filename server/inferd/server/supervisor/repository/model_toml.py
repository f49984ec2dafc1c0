"""model.toml: what the author of a model declares about it. Strict: unknown keys are mistakes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inferd.core.settings import ModelOverride, Names, Versions, VersionsField, expectation
from inferd.wire.dtypes import ANY, DATATYPES
from inferd.wire.signature import Axis, TensorSpec

BATCH = "batch"
"""Symbol of the first dimension of every tensor of a model that batches."""


class DeclarationError(ValueError):
    """A model.toml that cannot be followed; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """How a model is to be served. None leaves it to the server's settings or to the artefact.

    `max_queue_delay` is in seconds, `instances` counts workers per device; `max_streams` is how many
    generators of a model that yields one worker runs side by side, for each gateway.
    """

    max_batch_size: int | None = None
    max_queue_delay: float = 0.0
    max_queue_size: int = 1000
    versions: Versions = "latest"
    max_streams: int = 64
    instances: int = 1
    devices: tuple[str, ...] | None = None
    threads: int | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def under(self, override: ModelOverride) -> Self:
        """The same with what the operator says instead, where the operator says something."""
        said = override.model_dump(exclude_none=True, exclude={"trust", "max_queue_delay_ms"})
        if override.max_queue_delay_ms is not None:
            said["max_queue_delay"] = override.max_queue_delay_ms / 1000
        return replace(self, **said)


class _TensorTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-/]{0,127}$")]
    datatype: str
    shape: list[int] | None = None
    optional: bool = False


class _ModelToml(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    max_batch_size: Annotated[int, Field(ge=0)] | None = None
    max_queue_delay_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    max_queue_size: Annotated[int, Field(ge=1)] = 1000
    # More might fill a link in both directions, with either side waiting for the other to read.
    max_streams: Annotated[int, Field(ge=1, le=128)] = 64
    versions: VersionsField = "latest"
    instances: Annotated[int, Field(ge=1, le=256)] = 1
    devices: Annotated[Names, Field(strict=False)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    input: list[_TensorTable] = Field(default_factory=list)
    output: list[_TensorTable] = Field(default_factory=list)


def read(path: Path) -> Declaration:
    """The declaration in the file `path`. Raises `DeclarationError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # Clients read this too: an OSError's whole text has the path on this machine.
        why = error.strerror if isinstance(error, OSError) else error
        raise DeclarationError(f"{path.name} cannot be read: {why}") from None
    return parse(text)


def parse(text: str) -> Declaration:
    """The declaration in `text`. Raises `DeclarationError`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"model.toml is not TOML: {error}") from None
    if "trust" in table:
        raise DeclarationError(
            "model.toml has a key trust, but a model cannot trust itself: the operator does, with "
            "trust = true under [model.NAME] in inferd.toml or with inferd serve --trust NAME"
        )
    try:
        found = _ModelToml.model_validate(table)
    except ValidationError as invalid:
        lines = [
            _line(error["loc"], error["msg"], error["input"], error["type"])
            for error in invalid.errors()
        ]
        raise DeclarationError("; ".join(lines)) from None
    batches = bool(found.max_batch_size)
    return Declaration(
        max_batch_size=found.max_batch_size,
        max_queue_delay=found.max_queue_delay_ms / 1000,
        max_queue_size=found.max_queue_size,
        max_streams=found.max_streams,
        versions=found.versions,
        instances=found.instances,
        devices=found.devices,
        threads=found.threads,
        inputs=_specs("input", found.input, batches=batches),
        outputs=_specs("output", found.output, batches=batches),
    )


def _specs(
    section: str, tables: Sequence[_TensorTable], *, batches: bool
) -> tuple[TensorSpec, ...]:
    names = [table.name for table in tables]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise DeclarationError(f"model.toml declares two [[{section}]] called '{doubled}'")
    return tuple(
        _spec(f"[[{section}]] '{table.name}' in model.toml", table, batches=batches)
        for table in tables
    )


def _spec(where: str, table: _TensorTable, *, batches: bool) -> TensorSpec:
    if table.datatype not in DATATYPES and table.datatype != ANY:
        raise DeclarationError(
            f"{where}: datatype '{table.datatype}' is unknown{_nearest(table.datatype, [*DATATYPES, ANY])}"
        )
    if table.shape is None:
        return TensorSpec(table.name, table.datatype, None, table.optional)
    if table.datatype == ANY:
        raise DeclarationError(f"{where}: datatype ANY goes with any shape; leave out shape")
    if bad := [size for size in table.shape if size < -1 or size == 0]:
        raise DeclarationError(
            f"{where}: shape {table.shape} has the size {bad[0]}; expected sizes from 1, "
            "or -1 for one that is free"
        )
    if batches and (not table.shape or table.shape[0] != -1):
        raise DeclarationError(
            f"{where}: shape {table.shape} does not begin with -1; with max_batch_size above 0 "
            "the first dimension is the batch"
        )
    return TensorSpec(table.name, table.datatype, _dims(table, batches=batches), table.optional)


def _dims(table: _TensorTable, *, batches: bool) -> tuple[int | Axis, ...]:
    dims: list[int | Axis] = []
    for position, size in enumerate(table.shape or ()):
        if size != -1:
            dims.append(size)
        elif position == 0 and batches:
            dims.append(Axis(BATCH, min=1))
        else:
            # A symbol of its own: nothing says that it equals another free dimension.
            dims.append(Axis(f"{table.name}.{position}"))
    return tuple(dims)


def _line(where: Sequence[int | str], message: str, value: object, kind: str) -> str:
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        table: type[BaseModel] = _ModelToml if len(where) == 1 else _TensorTable
        return f"model.toml has an unknown key {key}{_nearest(str(where[-1]), table.model_fields)}"
    if kind == "missing":
        return f"model.toml lacks the key {key}"
    return f"key {key} in model.toml is {value!r}: {expectation(message, kind)}"


def _nearest(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if not near:
        near = get_close_matches(name.upper(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; expected one of: {', '.join(known)}"
