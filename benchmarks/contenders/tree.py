"""All processes of a server: what they cost, and how they are paused and ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

MARKER = "BENCH_SERVER_TREE"
"""Variable in the environment of every process of a tree, with the tree's own value."""

_LAST_WORDS = 2.0
_MB = 1e6


class ProcessTree:
    """The descendants of a process, and those that left the family but carry its marker."""

    def __init__(self, root: int, mark: str, roles: Mapping[str, str] | None = None) -> None:
        """`roles`: the argument of the command line by which processes of that role are known."""
        self._root = root
        self._roles = roles or {}
        self._mark = f"{MARKER}={mark}".encode()

    def processes(self) -> list[psutil.Process]:
        """Those that run now, the root first where it still does."""
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._root)
            found = {each.pid: each for each in (root, *root.children(recursive=True))}
        for pid in self._marked():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.setdefault(pid, psutil.Process(pid))
        return list(found.values())

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> tuple[float, float]:
        """The sum of the peaks of resident memory, and proportional memory now, in 10^6 bytes."""
        peak = proportional = 0.0
        for process in self.processes():
            folder = Path("/proc") / str(process.pid)
            peak += _kilobytes(folder / "status", "VmHWM:")
            proportional += _kilobytes(folder / "smaps_rollup", "Pss:")
        return peak * 1024 / _MB, proportional * 1024 / _MB

    def role_cpu_seconds(self) -> dict[str, float]:
        """User and system time so far, of all processes of each role together."""
        spent = dict.fromkeys(self._roles, 0.0)
        for process, role in self._cast():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent[role] += times.user + times.system
        return spent

    def role_peaks_mb(self) -> dict[str, float]:
        """The most that a process of each role ever had resident, in 10^6 bytes."""
        peaks = dict.fromkeys(self._roles, 0.0)
        for process, role in self._cast():
            status = Path("/proc") / str(process.pid) / "status"
            peaks[role] = max(peaks[role], _kilobytes(status, "VmHWM:") * 1024 / _MB)
        return peaks

    def pause(self) -> None:
        """Take every process off the processor until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`; children first, so that no parent finds one silent."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """SIGTERM for what is left, SIGKILL for what is left after that."""
        self._signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(self.processes(), timeout=_LAST_WORDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=_LAST_WORDS)

    def _cast(self) -> Iterator[tuple[psutil.Process, str]]:
        for process in self.processes() if self._roles else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                words = process.cmdline()
                role = next((name for name, word in self._roles.items() if word in words), None)
                if role is not None:
                    yield process, role

    def _signal(self, number: signal.Signals) -> None:
        for process in reversed(self.processes()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _marked(self) -> Iterator[int]:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def _kilobytes(file: Path, field: str) -> float:
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(field):
                return float(line.split()[1])
    return 0.0
