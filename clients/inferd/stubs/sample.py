"""The samples of other languages: which there are, and the files of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath, PurePosixPath

LANGUAGES = ("node", "go", "java", "cpp")
"""Each has a folder of its name beside this module: sources, build files and a README.md."""

PROTOS = PurePosixPath("protos")
"""Folder of the .proto files in every sample: what their imports are relative to."""


def sample_files(language: str) -> Mapping[PurePath, str]:
    """The text of every file of a sample by its path: its own ones, and the protocol's.

    Raises `KeyError` for a language that has none.
    """
    if language not in LANGUAGES:
        raise KeyError(language)
    own = resources.files(__package__ or "").joinpath(language)
    files: dict[PurePath, str] = {
        path: each.read_text("utf-8") for path, each in _walk(own, PurePosixPath())
    }
    package = "inferd.protos"
    for path, each in _walk(resources.files(package), PROTOS.joinpath(*package.split("."))):
        if path.suffix == ".proto":
            files[path] = each.read_text("utf-8")
    return files


def _walk(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda at: at.name):
        if each.is_dir():
            yield from _walk(each, below / each.name)
        else:
            yield below / each.name, each
