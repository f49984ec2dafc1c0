"""A server's root process: started by a command, paused, resumed, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from affinity import pinned

from contenders.contender import ContenderError
from contenders.tree import MARKER, ProcessTree

PORTS = ("port", "port2", "port3", "port4", "port5", "port6")

_STOP_LIMIT = 15.0
_LOG_TAIL = 3000

_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""Variables of ours that are none of a server's business."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run, with placeholders already replaced."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None  # None: its scratch folder


class Server:
    """One process tree with a scratch folder and free ports of its own."""

    def __init__(self, name: str, roles: Mapping[str, str] | None = None) -> None:
        """`roles` as in `ProcessTree`."""
        self._name = name
        self._roles = roles
        self._scratch = tempfile.TemporaryDirectory(
            prefix="inferd-bench-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._scratch.name)
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.address = f"127.0.0.1:{self.ports['port']}"
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None

    @property
    def tree(self) -> ProcessTree:
        """Its processes, once it is started."""
        assert self._tree is not None
        return self._tree

    def start(self, launch: Launch, cpu: int | None) -> None:
        """Start, all processes on core `cpu` (None: any). Raises `ContenderError`."""
        mark = uuid.uuid4().hex
        kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            with pinned(cpu), self._log.open("wb") as output:
                self._process = subprocess.Popen(
                    launch.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=launch.folder or self.folder,
                    env={**kept, **threads, **launch.environment, MARKER: mark},
                    process_group=0,  # Ctrl-C is ours to handle
                )
        except OSError as error:
            raise ContenderError(f"{self._name} cannot be started: {error}") from error
        self._tree = ProcessTree(self._process.pid, mark, self._roles)

    def ended(self) -> str | None:
        """How it ended by itself, with its last words; None if it runs."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        how = (
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        )
        return f"{how}: {self.last_words()}"

    def last_words(self) -> str:
        """The end of what it printed."""
        if not self._log.exists():
            return "it printed nothing"
        text = self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
        return text or "it printed nothing"

    def stop(self) -> None:
        """SIGTERM first; what is left of the tree after a while is killed. Twice does nothing."""
        if self._process is not None:
            self.tree.resume()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self.tree.end()
            self._process = None
        self._scratch.cleanup()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now: those that the system gives away."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
