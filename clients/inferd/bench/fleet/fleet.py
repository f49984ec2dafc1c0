"""The client processes: started, ordered about, listened to and ended together."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from inferd.bench.orders import (
    FROM_CLIENT,
    Connect,
    Connected,
    Done,
    Failed,
    FromClient,
    Load,
    Message,
    Progress,
    Stop,
    line,
)
from inferd.bench.samples import Samples

_END_WITHIN = 5.0


class FleetError(Exception):
    """A client process cannot do its work; says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load was: all samples, and each process's report."""

    samples: Samples
    reports: tuple[Done, ...]


class Fleet:
    """Client processes that all know the server; a context manager that ends them."""

    def __init__(self, connect: Connect, folder: Path) -> None:
        """`folder` is for samples and what the processes complain about."""
        self._connect = connect
        self._folder = folder
        self._clients: list[_Client] = []
        self._stopped = False
        self.transport: Literal["core", "aio"] = "core"

    async def grow(self, count: int) -> None:
        """Have at least `count` processes, connected; raises `FleetError`."""
        known = len(self._clients)
        for at in range(known, count):
            try:
                client = await _Client.start(self._folder / f"client-{at}.log")
            except OSError as error:
                raise FleetError(f"client process {at + 1} cannot be started: {error}") from error
            self._clients.append(client)  # at once: whatever comes next, it is ended
        started = self._clients[known:]
        for client in started:
            client.order(self._connect)
        for client in started:
            answer = await client.receive()
            if not isinstance(answer, Connected):
                raise FleetError(f"expected 'connected' from a client process, not {answer}")
            self.transport = answer.transport

    async def load(self, orders: Sequence[Load], progress: Callable[[int, int], None]) -> Loaded:
        """Give one order to each of the first processes; returns when they are done.

        `progress` is told how many requests were answered and failed so far. Raises `FleetError`.
        """
        counts: dict[int, Progress] = {}

        async def listen(at: int) -> Done:
            while True:
                report = await self._clients[at].receive()
                if isinstance(report, Done):
                    return report
                if isinstance(report, Progress):
                    counts[at] = report
                    told = counts.values()
                    progress(sum(each.answered for each in told), sum(each.failed for each in told))

        for at, order in enumerate(orders):
            self._clients[at].order(order)
        if self._stopped:
            self.stop()
        reports = await asyncio.gather(*(listen(at) for at in range(len(orders))))
        files = [Path(order.file) for order in orders]
        samples = Samples.together([Samples.load(file) for file in files])
        for file in files:
            file.unlink()
        return Loaded(samples, tuple(reports))

    def stop(self) -> None:
        """End the load that is under way; it still reports. There is none after it."""
        self._stopped = True
        for client in self._clients:
            client.order(Stop())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(client.end() for client in self._clients))


class _Client:
    """One process."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, log: Path) -> Self:
        """Start it; its complaints go to the file `log`."""
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "inferd.bench.client",
                stdin=PIPE,
                stdout=PIPE,
                stderr=stream,
                # Not in the terminal's foreground group: Ctrl-C is for the bench to act upon.
                process_group=0,
            )
        return cls(process, log)

    def order(self, message: Message) -> None:
        """Send an order; one to a process that has ended is lost, `receive` tells of that."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(line(message))

    async def receive(self) -> FromClient:
        """The next report; raises `FleetError` for a failure or the end of the process."""
        assert self._process.stdout is not None
        text = await self._process.stdout.readline()
        if not text:
            code = await self._process.wait()
            words = self._log.read_text(errors="replace").strip().splitlines()
            raise FleetError(
                f"a client process ended with exit code {code}: {words[-1] if words else 'no word'}"
            )
        try:
            message: FromClient = FROM_CLIENT.decode(text)
        except msgspec.MsgspecError as error:
            raise FleetError(f"a client process said {text[:80]!r}: {error}") from error
        if isinstance(message, Failed):
            raise FleetError(message.message)
        return message

    async def end(self) -> None:
        """Close its standard input, which ends it; kill it if that takes long."""
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), _END_WITHIN)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
