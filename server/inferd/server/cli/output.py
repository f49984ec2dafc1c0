"""Where a command's words go: results to stdout, errors to stderr with an exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

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
