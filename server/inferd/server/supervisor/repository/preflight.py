"""Pre-flight: whether torch could open a .pt2 without running code that came with it.

torch.export.load unpickles some members of the archive without limits, evaluates expressions with
sympy, and pastes names into source that it executes. So every member is checked against what
torch.export.save of torch 2.9 to 2.13 writes for models of tensors, and all else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from inferd.server.supervisor.repository.archive import Archive, ArchiveRefused
from inferd.server.supervisor.repository.pickles import PickleRefused, check_saved_tensors
from inferd.server.supervisor.repository.program import (
    ProgramRefused,
    check_payloads,
    check_program,
)

Check = Callable[[bytes], None]

_WORD = r"[\w.-]+"


def _check_saved(data: bytes) -> None:
    if data:
        check_saved_tensors(data)


# Each kind of member, and what it has to pass; None where it need not even be read.
_MEMBERS: tuple[tuple[re.Pattern[str], Check | None], ...] = (
    (re.compile(rf"models/{_WORD}\.json"), check_program),
    (
        re.compile(rf"data/(weights|constants)/{_WORD}_(weights|constants)_config\.json"),
        check_payloads,
    ),
    (re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+"), None),
    (re.compile(rf"data/(sample_inputs|weights|constants)/{_WORD}\.pt"), _check_saved),
    (re.compile(r"extra/(?!module_info\.json)[^/].*"), None),
    (re.compile(r"archive_format|archive_version|byteorder|version"), None),
    (re.compile(r"\.format_version|\.storage_alignment|\.data/(version|serialization_id)"), None),
)

# What people try to serve that is code by nature, and how they find out.
_CODE = (
    (re.compile(r"data/aotinductor/.*"), "is a compiled AOTInductor library"),
    (re.compile(r"data/constants/(custom|opaque)_obj_\d+"), "is an object of a custom class"),
    (re.compile(r"(.*/)?(code/.*|constants\.pkl)"), "shows that this is a TorchScript program"),
    (re.compile(r"(.*/)?data\.pkl|.*\.pkl"), "is a pickle, as torch.save writes them"),
)


class PreflightRefused(ValueError):
    """Opening the file could run code that came with it, or it is not what it claims to be."""


def check(path: Path) -> None:
    """That torch.export.load can open the .pt2 at `path` without running anything from it.

    Reads the file, never unpickles, never imports torch. Raises `PreflightRefused`, with a
    message for the operator, and `OSError` if the file cannot be read.
    """
    try:
        with Archive(path) as archive:
            _check_members(path.name, archive)
    except ArchiveRefused as error:
        raise PreflightRefused(
            f"{path.name} was refused: {error}; expected what torch.export.save writes"
        ) from None


def _check_members(file: str, archive: Archive) -> None:
    if "archive_format" not in archive.names or archive.read("archive_format") != b"pt2":
        raise _refused(file, _first_code(archive) or "it is not an archive of torch.export.save")
    for name in archive.names:
        rule = _rule_for(name)
        if rule is None:
            raise _refused(file, _first_code(archive) or f"member '{name}' is unknown")
        (check_member,) = rule
        if check_member is not None:
            try:
                check_member(archive.read(name))
            except (PickleRefused, ProgramRefused) as error:
                raise _refused(file, f"member '{name}': {error}") from None


def _rule_for(name: str) -> tuple[Check | None] | None:
    """What the member has to pass, in a tuple; None if no rule names it."""
    for pattern, check_member in _MEMBERS:
        if pattern.fullmatch(name):
            return (check_member,)
    return None


def _first_code(archive: Archive) -> str | None:
    for pattern, what in _CODE:
        for name in archive.names:
            if pattern.fullmatch(name):
                return f"member '{name}' {what}"
    return None


def _refused(file: str, why: str) -> PreflightRefused:
    return PreflightRefused(
        f"{file} was refused: {why}, so opening it could run code that came with it"
    )
