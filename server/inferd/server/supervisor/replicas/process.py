"""A child program: started, spoken to, seen to die, and reaped, from one asyncio loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from inferd.core.link.sockets import MessageSocket, PeerGone, socket_pair
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.replicas.output import Log, Output

Sent = TypeVar("Sent")
Received = TypeVar("Received")

_log = get_logger(__name__)

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""glibc's allocator gives large blocks back to the kernel and faults them in again, page by page,
for the next message: a third of a gateway's time for a 600 KB tensor, and half of a model's page
faults. What is freed stays with the child instead: up to 256 MiB per arena of malloc, of which
each thread that allocates much has one, not per process. mallopt(3) has the variables.
"""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by a signal, or with an exit code."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        return f"exit code {self.code}" if self.signal is None else f"signal {self.signal}"


class ChildProcess(Generic[Sent, Received]):
    """One child in a process group of its own, with a control socket.

    Its messages come to `on_message`; once it is dead, all of them handed over and the process
    reaped, `on_exit` is called once. Both run in the loop and must not block. Death is seen at
    once, through a pidfd.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: MessageSocket[Sent, Received],
        *,
        on_message: Callable[[Received], None],
        on_exit: Callable[[Exit], None],
        output: Output | None = None,
    ) -> None:
        """Watch a child that is already running; `spawn` makes one."""
        self.pid = process.pid
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._process = process
        self._control = control
        self._on_message = on_message
        self._on_exit = on_exit
        self._output = output
        self._outbox: deque[tuple[Sent, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._died)
        self._listening = True
        self._loop.add_reader(control.fileno(), self._readable)

    @classmethod
    def spawn(
        cls,
        command: Sequence[str],
        receives: object,
        *,
        on_message: Callable[[Received], None],
        on_exit: Callable[[Exit], None],
        printed: Log | None = None,
    ) -> ChildProcess[Sent, Received]:
        """Start `command`, given `--control-fd N --parent PID`; call from the main thread.

        `receives` is the union of what the child may send. What it prints is logged to `printed`,
        by line; its own logs go to the descriptor of `--log-fd N`. Without that it prints where we
        do. Raises `OSError` if it cannot start.
        """
        ours, theirs = socket_pair()
        output = Output(printed) if printed is not None else None
        fds = {"--control-fd": theirs.fileno()}
        if output is not None:
            fds["--log-fd"] = output.log_fd
        options = [str(each) for pair in fds.items() for each in pair]
        try:
            process = subprocess.Popen(
                [*command, *options, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=None if output is None else output.stdout,
                stderr=None if output is None else output.stderr,
                env={**KEEP_MEMORY, **os.environ},  # what the operator set has the last word
                pass_fds=tuple(fds.values()),
                # Ctrl-C in the terminal is for the supervisor alone: it decides what ends when.
                process_group=0,
            )
        except OSError:
            ours.close()
            if output is not None:
                output.abandon()
            raise
        finally:
            theirs.close()
        if output is not None:
            output.begin(process.pid)
        control: MessageSocket[Sent, Received] = MessageSocket(ours, receives)
        control.set_blocking(blocking=False)
        return cls(process, control, on_message=on_message, on_exit=on_exit, output=output)

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to die."""
        return not self.exit.done()

    def send(self, message: Sent, fds: Sequence[int] = ()) -> None:
        """Send a message, later if the child is slow to read; lost if it is dead.

        `fds` stay the caller's, to be closed at once if need be.
        """
        if not self.alive:
            return
        if self._outbox:
            self._outbox.append((message, [os.dup(fd) for fd in fds]))
            return
        try:
            self._control.send(message, fds)
        except BlockingIOError:
            self._outbox.append((message, [os.dup(fd) for fd in fds]))
            self._loop.add_writer(self._control.fileno(), self._writable)
        except PeerGone:
            pass  # its pidfd tells the rest

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and whatever it started, at once (SIGKILL)."""
        self._signal_group()

    async def stop(self, grace: float) -> Exit:
        """Ask it to end, kill it after `grace` seconds, and wait until it is reaped."""
        self.terminate()
        return await self.wait_or_kill(grace)

    async def wait_or_kill(self, grace: float) -> Exit:
        """Wait `grace` seconds for it to end by itself, kill it then; wait until it is reaped."""
        try:
            async with asyncio.timeout(grace):
                return await asyncio.shield(self.exit)
        except TimeoutError:
            self.kill()
            return await asyncio.shield(self.exit)

    def _signal(self, number: int) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _signal_group(self) -> None:
        # Not yet reaped, so the number cannot have become another group's.
        if self.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _readable(self) -> None:
        while self._listening:
            try:
                message = self._control.receive()
            except BlockingIOError:
                return
            except PeerGone:
                self._stop_listening()
                return
            except msgspec.DecodeError as error:
                _log.error("child sent nonsense and is killed", pid=self.pid, error=str(error))
                self._stop_listening()
                self.kill()
                return
            self._on_message(message)

    def _writable(self) -> None:
        while self._outbox:
            message, fds = self._outbox[0]
            try:
                self._control.send(message, fds)
            except BlockingIOError:
                return
            except PeerGone:
                break
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)
        self._drop_outbox()

    def _drop_outbox(self) -> None:
        self._loop.remove_writer(self._control.fileno())
        while self._outbox:
            for fd in self._outbox.popleft()[1]:
                os.close(fd)

    def _stop_listening(self) -> None:
        self._listening = False
        self._loop.remove_reader(self._control.fileno())

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._readable()  # what it said before it died
        if self._listening:
            self._stop_listening()
        self._signal_group()  # what it started and left behind
        if self._output is not None:
            self._output.end()
        self._drop_outbox()
        code = self._process.wait()
        os.close(self._pidfd)
        self._control.close()
        ended = Exit(signal=-code) if code < 0 else Exit(code=code)
        self.exit.set_result(ended)
        self._on_exit(ended)


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours with the Python that runs us."""
    return [sys.executable, "-m", module, *arguments]
