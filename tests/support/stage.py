"""A supervisor with real child processes that neither load models nor speak gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from inferd.core import settings
from inferd.core.link.messages import (
    CommandAnswer,
    CountsReport,
    FromGateway,
    PublishModel,
    RepositoryCommand,
    ToGateway,
    VersionState,
)
from inferd.server.supervisor.app import Programs, Supervisor
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.summary import Summary
from support.server import command_line

PROGRAMS = Path(__file__).parent / "stage_programs"
BOUND = 60.0
"""Seconds after which what a test waits for will not come any more."""

Told = TypeVar("Told")


class Stage:
    """A running supervisor, what its gateways are told, and what clients ask of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "models"
        self.ready_file = folder / "ready.json"
        self.told: list[ToGateway] = []
        """What gateways were told, each message once per gateway."""
        self.told_to: defaultdict[str, list[ToGateway]] = defaultdict(list)
        """The same by the gateway's name."""
        self.summary: Summary | None = None
        self.supervisor: Supervisor
        self.run: asyncio.Task[None]
        self._news = asyncio.Event()
        self._awaited: dict[str, PublishModel] = {}
        self._gateways: dict[str, socket.socket] = {}
        self._opened: list[socket.socket] = []
        self._commands = 0

    def model(self, name: str, behaviour: str = "", version: int = 1) -> Path:
        """Put a model into the repository whose worker behaves like this."""
        folder = self.repository / name / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.py").write_text(behaviour)
        return folder

    async def expect(
        self,
        kind: type[Told],
        fits: Callable[[Told], bool] = lambda _: True,
        *,
        to: str | None = None,
    ) -> Told:
        """The first message of this kind to a gateway that fits, past or to come."""
        async with asyncio.timeout(BOUND):
            while True:
                for message in self.told if to is None else self.told_to[to]:
                    if isinstance(message, kind) and fits(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def state(
        self, name: str, state: str, reason: str = "", version: int = 1
    ) -> VersionState:
        """Wait until this is what was last published of a version.

        Or was, since what this waited for last of the model: a state may be over before it is seen.
        """
        async with asyncio.timeout(BOUND):
            while True:
                said = [m for m in self.told if isinstance(m, PublishModel) and m.model == name]
                awaited = self._awaited.get(name)
                after = next((n for n, m in enumerate(said, start=1) if m is awaited), 0)
                for message in (*said[-1:], *said[after:]):
                    found = next((v for v in message.versions if v.version == version), None)
                    if found is not None and found.state == state and reason in found.reason:
                        self._awaited[name] = message
                        return found
                self._news.clear()
                await self._news.wait()

    def last_state(
        self, name: str, version: int = 1, *, to: str | None = None
    ) -> VersionState | None:
        """What was last published of a version, to any gateway or to this one."""
        for message in reversed(self.told if to is None else self.told_to[to]):
            if isinstance(message, PublishModel) and message.model == name:
                return next((v for v in message.versions if v.version == version), None)
        return None

    async def ask(self, verb: str, name: str, *, by: str = "gateway") -> CommandAnswer:
        """Have a client load or unload a model; the answer."""
        self._commands += 1
        number = self._commands
        self.say(RepositoryCommand(number, verb, name), by=by)
        return await self.expect(CommandAnswer, lambda answer: answer.command == number, to=by)

    def say(self, message: FromGateway, *, by: str = "gateway") -> None:
        """Have the gateway of this name say this."""
        self._gateways[by].send(msgspec.msgpack.encode(message))

    async def report(self, message: CountsReport, *, by: str) -> None:
        """Have a gateway report, and return when the supervisor has heard it."""
        self.say(message, by=by)
        await self.heard(message, by=by)

    async def heard(self, message: CountsReport, *, by: str) -> None:
        """Return when the supervisor has heard this of a gateway."""
        doors = self.supervisor._doors
        (door,) = [each for each in doors.up if each.name == by]
        async with asyncio.timeout(BOUND):
            while tuple(doors.census._living.get(door, ())) != message.counts:  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0)

    def workers(self) -> list[psutil.Process]:
        """The worker processes that live."""
        return [
            child for child in self.children() if str(PROGRAMS / "worker.py") in command_line(child)
        ]

    def gateway(self, name: str | None = None) -> psutil.Process:
        """The process of the only gateway, or of the one of this name."""
        (found,) = (
            each
            for each in self.children()
            if str(PROGRAMS / "gateway.py") in command_line(each)
            and (name is None or name in command_line(each))
        )
        return found

    @staticmethod
    def children() -> list[psutil.Process]:
        """The stage's programs that live; other tests may have children of their own."""
        living = psutil.Process().children()
        return [
            child for child in living if any(str(PROGRAMS) in part for part in command_line(child))
        ]

    async def listen(self, listener: socket.socket) -> None:
        """Hear what gateways are told."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                gateway, _ = await asyncio.get_running_loop().sock_accept(listener)
                gateway.setblocking(False)  # noqa: FBT003 - the library's own form
                self._opened.append(gateway)
                tasks.create_task(self._hear(gateway))

    async def _hear(self, gateway: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        decoder = msgspec.msgpack.Decoder(ToGateway)
        with suppress(ConnectionError):
            name = (await loop.sock_recv(gateway, 100)).decode()
            self._gateways[name] = gateway
            while data := await loop.sock_recv(gateway, 1 << 20):
                message = decoder.decode(data)
                self.told.append(message)
                self.told_to[name].append(message)
                self._news.set()

    def close(self) -> None:
        """Close what was opened to gateways."""
        for gateway in self._opened:
            gateway.close()


@asynccontextmanager
async def staged(folder: Path, *, cores: int = 2, **options: Any) -> AsyncIterator[Stage]:
    """A stage whose supervisor is started by `start`; all of it is ended on leaving."""
    stage = Stage(folder)
    stage.repository.mkdir()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / "mirror"))
    listener.listen()
    listener.setblocking(False)  # noqa: FBT003 - the library's own form
    (folder / "inferd.toml").touch()
    given = {
        "models": [stage.repository],
        "grpc": "127.0.0.1:0",
        "http": "127.0.0.1:0",
        "ops": "127.0.0.1:0",
        "ready_file": stage.ready_file,
        "trust": [f"m{number}" for number in range(10)],
        **options,
    }
    read = settings.read(given, {}, folder / "inferd.toml")
    programs = Programs(
        gateway=[sys.executable, str(PROGRAMS / "gateway.py"), "--mirror", str(folder / "mirror")],
        worker=[sys.executable, str(PROGRAMS / "worker.py")],
    )

    def ready(summary: Summary) -> None:
        stage.summary = summary
        stage._news.set()

    machine = Machine(cpus=tuple(range(cores)), cores=cores, gpus=0)
    stage.supervisor = Supervisor(read, programs, on_ready=ready, machine=machine)
    hearing = asyncio.create_task(stage.listen(listener))
    try:
        yield stage
    finally:
        stage.supervisor.stop()
        async with asyncio.timeout(BOUND):
            await asyncio.gather(stage.run, return_exceptions=True)
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        listener.close()
        stage.close()
        assert stage.children() == [], "the supervisor left a process behind"
        assert not stage.ready_file.exists()


async def start(stage: Stage) -> Summary:
    """Run the supervisor until it is ready; what it says it serves."""
    stage.run = asyncio.create_task(stage.supervisor.run())
    async with asyncio.timeout(BOUND):
        while stage.summary is None:
            if stage.run.done():
                stage.run.result()
            stage._news.clear()
            news = asyncio.create_task(stage._news.wait())
            await asyncio.wait({news, stage.run}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
    assert json.loads(stage.ready_file.read_text()) == {
        "grpc": stage.summary.addresses.grpc,
        "http": stage.summary.addresses.http,
        "ops": stage.summary.addresses.ops,
        "pid": os.getpid(),
    }
    return stage.summary
