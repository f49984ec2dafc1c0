"""Where a command's words go: results to stdout, errors to stderr with an exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

import msgspec

from inferd.core.telemetry.logs import escape

FAILED = 1
MISUSED = 2


def show(lines: Iterable[str]) -> None:
    """Print lines; what a server or a file put in them cannot drive the terminal."""
    for line in lines:
        print(escape(line))


def show_json(document: object) -> None:
    """Print one JSON document on one line; numbers that JSON lacks (NaN, infinity) become null."""
    print(msgspec.json.encode(document).decode())


def program() -> str:
    """What to type for `inferd`: its path, unless the shell finds this one by name."""
    typed = Path(sys.argv[0])
    found = shutil.which("inferd")
    if typed.name != "inferd" or (found is not None and typed.resolve() == Path(found).resolve()):
        return "inferd"
    return sys.argv[0]


def complain(verb: str, message: str, code: int) -> int:
    """Print an error of the verb on stderr; the exit code to return."""
    print(f"inferd {verb}: {escape(' '.join(message.split()))}", file=sys.stderr)
    return code


def write_files(folder: Path, files: Mapping[PurePath, str], *, force: bool) -> list[Path]:
    """Write those that are not there yet: all, or none where one that differs is in the way.

    Returns what was written. Raises `ValueError` if one differs and `force` is not given.
    """
    contents = {folder / path: text.encode() for path, text in files.items()}
    # What is there already stays untouched, for what was built from it is up to date.
    new = [path for path in contents if not path.exists() or path.read_bytes() != contents[path]]
    for path in new:
        if path.exists() and not force:
            raise ValueError(f"{path} is there already and differs; --force replaces it")
    for path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[path])
    return new
