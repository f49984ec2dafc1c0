"""The shape of the house: import roots, packages, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
ROOTS = ("protos", "core", "server", "workers", "clients")
MOST_LINES = 320
MOST_FUNCTION_LINES = 50
MOST_FILES = 12


@pytest.mark.parametrize("root", ROOTS)
def test_the_namespace_has_no_init(root: str) -> None:
    """An `inferd/__init__.py` in one root would hide all the other roots."""
    assert not (HOUSE / root / "inferd" / "__init__.py").exists()


@pytest.mark.parametrize("root", ROOTS)
def test_a_root_holds_the_namespace_only(root: str) -> None:
    """Whatever else lies in a root would become importable under its own name."""
    inside = {path.name for path in (HOUSE / root).iterdir()} - {"__pycache__", "README.md"}
    assert inside == {"inferd"}


@pytest.mark.parametrize("root", ROOTS)
def test_every_folder_below_the_namespace_is_a_package(root: str) -> None:
    """import-linter does not see into a folder without `__init__.py`, and would say that all is well."""
    folders = {file.parent for file in _sources(HOUSE / root)}
    namespace = HOUSE / root / "inferd"
    between = {parent for folder in folders for parent in folder.parents} | folders
    packages = [folder for folder in between if namespace in folder.parents]
    assert packages
    without = [_short(folder) for folder in packages if not (folder / "__init__.py").exists()]
    assert without == []


@pytest.mark.parametrize("root", ROOTS)
def test_every_package_is_typed(root: str) -> None:
    """Without `py.typed` a type checker takes everything imported from inferd for Any."""
    packages = [path for path in (HOUSE / root / "inferd").iterdir() if path.name != "__pycache__"]
    assert [_short(path) for path in packages if not (path / "py.typed").exists()] == []


def test_no_file_is_long() -> None:
    """A file has one noun and can be read in one sitting."""
    lengths = {_short(file): len(file.read_text().splitlines()) for file in _written()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    """A function fits a screen, or nearly; a verb's options and help are not its code."""
    lengths = {
        f"{_short(file)}:{node.name}": (node.end_lineno or 0) - _first_statement(node).lineno + 1
        for file in _written()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_FUNCTION_LINES} == {}


def _first_statement(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
    documented = ast.get_docstring(function) is not None and len(function.body) > 1
    return function.body[1 if documented else 0]


def test_no_folder_is_crowded() -> None:
    """A folder's listing tells its story; more files than this want a subfolder."""
    folders: dict[str, int] = {}
    for root in ROOTS:
        for file in _sources(HOUSE / root):
            if file.name != "__init__.py":
                folders[_short(file.parent)] = folders.get(_short(file.parent), 0) + 1
    assert {name: count for name, count in folders.items() if count > MOST_FILES} == {}


def _written() -> Iterator[Path]:
    for folder in (*ROOTS, "models", "scripts", "benchmarks", "tests"):
        yield from _sources(HOUSE / folder)


def _sources(folder: Path) -> Iterator[Path]:
    """Python files that people wrote: no generated ones, nothing in hidden folders."""
    for file in folder.rglob("*.py"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and not file.stem.endswith(("_pb2", "_pb2_grpc")):
            yield file


def _short(path: Path) -> str:
    return str(path.relative_to(HOUSE))
