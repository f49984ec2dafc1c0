"""A worker's standard streams where the supervisor reads them: its logs apart, prints at once."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_BY_LINE = 1
"""glibc's and musl's _IOLBF."""


def logs_at(fd: int) -> TextIO:
    """Where this process's own logs go: a descriptor that no program started by a model gets."""
    os.set_inheritable(fd, False)  # noqa: FBT003  # as os has it
    return open(
        fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False
    )  # lives as long as the process


def print_by_line() -> None:
    """Have Python and C hand over what a model prints at the end of each line.

    To a pipe both would keep it until some kilobytes are there, and lose it when the process dies. What dies
    of a signal says where it was.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    with suppress(OSError, ValueError, AttributeError):  # another C library: its own buffers, then
        library = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(library, "stdout")
        library.setvbuf(stdout, None, _BY_LINE, 0)
    faulthandler.enable()
