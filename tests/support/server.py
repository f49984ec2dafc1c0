"""`inferd serve` as its users start it, and a look at what it leaves behind."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

PATIENCE = 120.0
"""Seconds after which a server that is not ready, or does not end, fails the test."""

MODELS = Path(__file__).parents[2] / "models"
"""The example models; `make test` builds them first."""


class Server:
    """A server on a free port; leaving the context presses Ctrl-C and looks for leftovers."""

    def __init__(
        self,
        folder: Path,
        models: Iterable[Path],
        *options: str,
        environment: Mapping[str, str] | None = None,
        address: str = "127.0.0.1:0",
        lasting: bool = False,
    ) -> None:
        """`folder` is its working directory and holds its ready file and log.

        With `lasting` it listens at ports that nobody is given while no gateway has them.
        """
        if lasting:
            address = lasting_address()
            options = ("--http", lasting_address(), *options)
        self._ready_file = folder / "ready.json"
        self.log = folder / "server.log"
        command = [str(Path(sys.executable).with_name("inferd")), "serve"]
        command += [str(each) for each in models]
        command += ["--grpc", address, "--ready-file", str(self._ready_file), *options]
        if "--http" not in options:
            command += ["--http", "127.0.0.1:0"]
        if "--ops" not in options:
            command += ["--ops", "127.0.0.1:0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,
            )
        self.address = ""
        self.http = ""
        self.ops = ""
        self.terminal = ""
        self.ended_well = True

    def __enter__(self) -> Self:
        try:
            self.terminal = self._read_until("Ctrl-C")
        except BaseException:
            self._abandon()
            raise
        ready = json.loads(self._ready_file.read_text())
        assert ready["pid"] == self.process.pid
        self.address, self.http = ready["grpc"], ready["http"]
        self.ops = ready["ops"] or ""
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        tree = self.tree() if self.process.poll() is None else []
        try:
            if self.process.poll() is None and self.ended_well:
                self.process.send_signal(signal.SIGINT)
            code = self.process.wait(PATIENCE)
        finally:
            for each in tree:
                if each.is_running():
                    each.kill()
            psutil.wait_procs(tree, timeout=10)
            if self.process.stdout is not None:
                self.process.stdout.close()
        if error is None and self.ended_well:
            assert code == 0, self.log.read_text()[-4000:]
            assert not self._ready_file.exists(), "the ready file is still there"
            assert "stopping at once" not in self.log.read_text(), "it was told once"

    def tree(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """The workers' processes."""
        return [each for each in self.tree() if "inferd.worker" in command_line(each)]

    def gateway(self) -> psutil.Process:
        """The gateway's process."""
        (found,) = [each for each in self.tree() if "inferd.server.gateway" in command_line(each)]
        return found

    def gateways(self) -> list[psutil.Process]:
        """The gateways' processes, the first one first."""
        found = {}
        for each in self.tree():
            line = command_line(each)
            if "inferd.server.gateway" in line:
                found[line[line.index("--name") + 1]] = each
        return [found[name] for name in sorted(found)]

    def kill_supervisor(self) -> None:
        """End the supervisor as the kernel's out-of-memory killer would."""
        self.ended_well = False
        self.process.kill()

    def _abandon(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read_until(self, word: str) -> str:
        """What it prints up to the line with `word`: printed when all models have settled."""
        stream = self.process.stdout
        assert stream is not None
        lines: list[str] = []
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        try:
            for line in stream:
                lines.append(line)
                if word in line:
                    return "".join(lines)
        finally:
            timer.cancel()
        raise AssertionError(f"no '{word}' in {lines}; log:\n{self.log.read_text()[-4000:]}")


def lasting_address() -> str:
    """An address at which nobody listens, outside of the ports that the system gives away.

    One of those may have become somebody else's when a process that died wants it again.
    """
    given_away = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first = max(4096, int(given_away.split()[0]))
    while True:
        port = random.randrange(first // 2, first)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"


def command_line(process: psutil.Process) -> list[str]:
    """How it was started; nothing of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # or a zombie, which is one
        return []


def memfds(pid: int) -> int:
    """How many memfds a process holds open."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(fd.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith("/memfd:") for link in links)


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they have ended, at most this long; returns those that have not."""
    fds = {}
    for each in processes:
        try:
            fds[os.pidfd_open(each.pid)] = each
        except ProcessLookupError:
            continue
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while fds:
        ended = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ended:
            break
        for fd, _ in ended:
            poller.unregister(fd)
            os.close(fd)
            del fds[fd]
    for fd in fds:
        os.close(fd)
    return list(fds.values())


def refused(folder: Path, *options: str) -> str:
    """What `inferd serve` says when it does not start, with a model of `folder` and these options."""
    from support.repository import write_scale  # torch takes seconds, which others do without

    write_scale(folder / "models" / "scale", 1, 1.0)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("inferd")), "serve", "models", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stderr
