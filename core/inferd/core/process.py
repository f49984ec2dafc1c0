"""What a child process does first, so that it never outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """From now on the kernel kills this process when the process `parent` dies.

    To be called first in a child, from its main thread, with the process id of the parent as that
    saw it itself. Ends this process at once (`SystemExit`) if the parent is already gone. Raises
    `OSError` where the kernel refuses.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel refused a parent-death signal: {os.strerror(number)}")
    # It may have died before we asked; then nobody will ever send the signal.
    if os.getppid() != parent:
        raise SystemExit(f"the parent process {parent} is gone; nothing to do without it")
