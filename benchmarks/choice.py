"""Which load generator is used."""

from __future__ import annotations

import shutil
from pathlib import Path

from h2load import H2load
from load import Load, LoadError
from python_load import PythonLoad

LOADS = ("auto", "h2load", "python")


def choose_load(folder: Path, wanted: str) -> Load:
    """h2load where it is installed, else the Python client; `wanted` is one of `LOADS`.

    `folder` is for their files. Raises `LoadError` where h2load is wanted and absent.
    """
    program = shutil.which("h2load")
    if wanted == "python" or (wanted == "auto" and program is None):
        return PythonLoad(folder)
    if program is None:
        raise LoadError(
            "h2load is not on the PATH; install it (Debian: apt-get install nghttp2-client) "
            "or take --load python"
        )
    return H2load(program, folder)
