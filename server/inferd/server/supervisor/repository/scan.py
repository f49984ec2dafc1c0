"""Recognition: which models and versions lie at the paths that the server was given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inferd.server.supervisor.repository import model_toml
from inferd.server.supervisor.repository.model_toml import Declaration, DeclarationError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a model may be called: safe in paths, logs and metric labels."""

EXPORTED = "exported"
CODE = "code"

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_DECLARATION = "model.toml"
_TRITON = "config.pbtxt"


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """One version of a model on disk; with a `problem`, one that cannot be served and why.

    `kind` is EXPORTED (`path` is the .pt2 file) or CODE (`path` is the folder with model.py).
    """

    version: int
    kind: str
    path: Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model on disk; with a `problem`, one of which no version can be served."""

    name: str
    path: Path
    declaration: Declaration = field(default_factory=Declaration)
    versions: tuple[FoundVersion, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found. `notes` are for the operator: what looked like a model and was left out."""

    models: tuple[FoundModel, ...]
    notes: tuple[str, ...] = ()


class ScanError(ValueError):
    """A path that the operator named holds nothing that could be served."""


def scan(paths: Sequence[Path]) -> Scan:
    """The models at `paths`, in the order of their names.

    A path is a .pt2 file, a model's folder or a folder of those. Raises `ScanError` for a path
    without any model and for two models of one name.
    """
    models: dict[str, FoundModel] = {}
    notes: list[str] = []
    for path in paths:
        noted = len(notes)
        found = list(_models_at(path, notes))
        if not found:
            why = "".join(f"; {note}" for note in notes[noted:])
            raise ScanError(
                f"no model in {path}: expected .pt2 files, or folders like NAME/1/model.pt2{why}"
            )
        for model in found:
            other = models.setdefault(model.name, model)
            if other.path.resolve() != model.path.resolve():
                raise ScanError(
                    f"two models are called '{model.name}': {other.path} and {model.path}; "
                    "rename one of them, or serve only one"
                )
    return Scan(tuple(models[name] for name in sorted(models)), tuple(notes))


def _models_at(path: Path, notes: list[str]) -> Iterator[FoundModel]:
    if path.is_file():
        if path.suffix != ".pt2":
            raise ScanError(
                f"{path} is not a model: expected a file NAME.pt2 written by torch.export.save, "
                "a model's folder or a folder of models"
            )
        yield from _named(path.stem, path, notes)
    elif not path.is_dir():
        raise ScanError(f"{path} does not exist: expected a .pt2 file or a folder")
    elif _is_model(path):
        yield from _named(path.resolve().name, path, notes)
    else:
        for child in sorted(path.iterdir()):
            if child.name.startswith((".", "__")):
                continue
            if child.is_file() and child.suffix == ".pt2":
                yield from _named(child.stem, child, notes)
            elif child.is_dir() and _is_model(child):
                yield from _named(child.name, child, notes)
            elif child.is_dir():
                notes.append(f"{child} has no version folder such as 1/ and was left out")


def _is_model(folder: Path) -> bool:
    return (
        (folder / _DECLARATION).is_file()
        or (folder / _TRITON).is_file()
        or any(True for _ in _version_folders(folder))
    )


def _named(name: str, path: Path, notes: list[str]) -> Iterator[FoundModel]:
    if NAME.fullmatch(name) is None:
        notes.append(
            f"{path} was left out: '{name}' is no name for a model; expected letters, digits, "
            "'.', '_' and '-', a letter or digit first, 128 at most"
        )
    elif path.is_file():
        yield FoundModel(name, path, versions=(FoundVersion(1, EXPORTED, path),))
    else:
        yield _in_folder(name, path)


def _in_folder(name: str, folder: Path) -> FoundModel:
    versions = tuple(
        sorted((_version(child) for child in _version_folders(folder)), key=lambda one: one.version)
    )
    declared = folder / _DECLARATION
    if not declared.is_file() and (folder / _TRITON).is_file():
        problem = f"{_TRITON} is Triton's; expected a model.toml, or none beside a .pt2"
        return FoundModel(name, folder, versions=versions, problem=problem)
    try:
        declaration = model_toml.read(declared) if declared.is_file() else Declaration()
    except DeclarationError as error:
        return FoundModel(name, folder, versions=versions, problem=str(error))
    if not versions:
        problem = f"it has no version folder: expected {folder.name}/1/model.pt2 or the like"
        return FoundModel(name, folder, declaration, problem=problem)
    return FoundModel(name, folder, declaration, versions)


def _version_folders(folder: Path) -> Iterator[Path]:
    for child in folder.iterdir():
        if _VERSION.fullmatch(child.name) and child.is_dir():
            yield child


def _version(folder: Path) -> FoundVersion:
    number = int(folder.name)
    programs = sorted(folder.glob("*.pt2"))
    has_code = (folder / "model.py").is_file()
    if len(programs) > 1:
        named = ", ".join(program.name for program in programs)
        problem = f"version {number} has {len(programs)} artefacts ({named}); expected one"
        return FoundVersion(number, EXPORTED, programs[0], problem)
    if programs and has_code:
        problem = f"version {number} has both {programs[0].name} and model.py; expected one of them"
        return FoundVersion(number, EXPORTED, programs[0], problem)
    if programs:
        return FoundVersion(number, EXPORTED, programs[0])
    problem_if_empty = f"version {number} has neither a .pt2 file nor a model.py"
    return FoundVersion(number, CODE, folder, None if has_code else problem_if_empty)
