"""A contender that is a command and writes a ready-file, as `inferd serve` does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from affinity import pinned

from drivers.driver import DriverError

_START_LIMIT = 120.0
_STOP_LIMIT = 15.0
_LOOK_INTERVAL = 0.02
_LOG_TAIL = 4000

CommandFor = Callable[[Path], Sequence[str]]
"""The command, given the path of the ready-file that it must write."""


class ServerProcess:
    """A `Driver`: runs a command in a process group of its own, its output kept in a file."""

    def __init__(self, name: str, description: str, command: CommandFor, *, folder: Path) -> None:
        """`folder` is the working directory of the command."""
        self.name = name
        self.description = description
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int:
        """See `Driver.pid`. Raises `DriverError` while nothing runs."""
        if self._process is None:
            raise DriverError(f"{self.name} is not started")
        return self._process.pid

    def start(self, cpu: int | None) -> str:
        """See `Driver.start`."""
        self._scratch = tempfile.TemporaryDirectory(prefix="inferd-bench-")
        folder = Path(self._scratch.name)
        ready, log = folder / "ready.json", folder / "log"
        try:
            with pinned(cpu), log.open("wb") as output:
                self._process = subprocess.Popen(
                    self._command(ready),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    process_group=0,  # Ctrl-C is ours to handle
                )
            return self._wait_until_ready(ready, log)
        except OSError as error:
            self.stop()
            raise DriverError(f"{self.name} cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def ended(self) -> str | None:
        """See `Driver.ended`."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def stop(self) -> None:
        """See `Driver.stop`: SIGTERM first; what is left of the tree after a while is killed."""
        if self._process is not None:
            tree = _tree(self._process.pid)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _, alive = psutil.wait_procs(tree, timeout=2)
            for process in alive:
                process.kill()
            self._process = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _wait_until_ready(self, ready: Path, log: Path) -> str:
        give_up = time.monotonic() + _START_LIMIT
        while not ready.exists():
            end = self.ended()
            if end is not None:
                raise DriverError(f"{self.name} {end}: {_tail(log)}")
            if time.monotonic() > give_up:
                raise DriverError(
                    f"{self.name} was not ready after {_START_LIMIT:.0f} s: {_tail(log)}"
                )
            time.sleep(_LOOK_INTERVAL)
        address: str = json.loads(ready.read_text())["grpc"]
        return address


def _tree(pid: int) -> list[psutil.Process]:
    """The children, and theirs; not the process itself, which is ours to reap."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL), os.SEEK_SET)
        return file.read().decode(errors="replace").strip() or "it printed nothing"
