"""The supervisor put together: gateways, the library of models, and the life of the server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from inferd.core.link.messages import (
    CommandAnswer,
    DeploymentDrained,
    Fault,
    FromGateway,
    InstanceAttached,
    InstanceLost,
    PublishServer,
    RegisterRegion,
    RepositoryCommand,
    StartGateway,
    ToGateway,
    UnregisterRegion,
)
from inferd.core.settings import Settings
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.gateways.door import Door, ListenError
from inferd.server.supervisor.gateways.doors import Doors
from inferd.server.supervisor.gateways.number import gateways_for
from inferd.server.supervisor.library import Library, LibraryTerms
from inferd.server.supervisor.ready_file import ReadyFile
from inferd.server.supervisor.regions import Regions
from inferd.server.supervisor.replicas.devices import Machine, survey
from inferd.server.supervisor.replicas.process import python
from inferd.server.supervisor.replicas.replica import WorkerTerms
from inferd.server.supervisor.repository.scan import Scan, ScanError, scan
from inferd.server.supervisor.summary import Summary, summarise
from inferd.server.supervisor.versions.plan import cpu_workers
from inferd.wire.errors import Forbidden, ServingError, Unexpected

DRAIN_MARGIN = 5.0
"""Seconds beyond the longest request that a deployment being replaced may take to empty."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Command = RepositoryCommand | RegisterRegion | UnregisterRegion
"""What clients ask of a supervisor."""

_log = get_logger(__name__)


class StartError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Programs:
    """How the children are started; `log_format` is the supervisor's own, once resolved."""

    gateway: Sequence[str]
    worker: Sequence[str]

    @classmethod
    def of_inferd(cls, log_level: str, log_format: str) -> Programs:
        """Our own gateway and worker, logging as the supervisor does."""
        logs = ("--log-level", log_level, "--log-format", log_format)
        return cls(python("inferd.server.gateway", *logs), python("inferd.worker", *logs))


class Supervisor:
    """Serves models until it is told to stop; leaves no process, file or memory behind."""

    def __init__(
        self,
        settings: Settings,
        programs: Programs,
        *,
        on_ready: Callable[[Summary], None],
        machine: Machine | None = None,
    ) -> None:
        """`on_ready` is called once all models have loaded or failed to."""
        self._settings = settings
        self._programs = programs
        self._on_ready = on_ready
        self._machine = machine or survey()
        self._ready = False
        self._stopping = asyncio.Event()
        self._hurry = False
        self._tasks: asyncio.TaskGroup | None = None
        self._starting: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until `stop` or a signal. Raises `StartError` if it cannot begin."""
        settings = self._settings
        found = self._scan()
        start = StartGateway(
            address=str(settings.grpc),
            max_message_bytes=settings.max_message_bytes,
            max_request_time=settings.max_request_time,
            max_arena_bytes=settings.max_arena_bytes,
            repository_control=settings.may_control_repository,
            door=settings.door,
            http=None if settings.http is None else str(settings.http),
            client_shared_memory=settings.client_shared_memory,
            access_log=settings.access_log,
        )
        number = self._number_of_gateways(found)
        self._doors = Doors(start, self._programs.gateway, self, number=number)
        self._library = Library(self._terms(number), self._doors)
        self._regions = Regions(self._doors)
        with self._signals(), ReadyFile(settings.ready_file) as ready_file:
            try:
                self._require_writable(ready_file)
                address = await self._opened()
                if address is not None:
                    ready_file.clear()
                    await self._serve(found, address, ready_file)
            except ExceptionGroup as group:
                self._kill()
                refused = group.subgroup(StartError)
                raise (refused or group).exceptions[0] from None
            except BaseException:
                self._kill()
                raise
            finally:
                await self._end()

    def stop(self) -> None:
        """End in good order; a second call ends at once."""
        if self._stopping.is_set():
            self._hurry = True
            _log.warning("stopping at once")
            if self._starting is not None:
                self._starting.cancel()  # or it would start the models that wait for their turn
            self._kill()
        else:
            _log.info("stopping", grace=self._settings.grace)
            self._stopping.set()

    # --- what a gateway says -----------------------------------------------------------------

    def gateway_up(self, gateway: Door) -> None:
        """A gateway that knows nothing yet listens."""
        self._library.gateway_up(gateway)
        self._regions.gateway_up(gateway)
        gateway.send(PublishServer(self._ready))

    def gateway_down(self, gateway: Door) -> None:
        """A gateway is gone."""
        self._library.gateway_down(gateway)

    def gateway_said(self, gateway: Door, message: FromGateway) -> None:
        """A gateway sent a message."""
        match message:
            case InstanceAttached(link):
                self._library.instance_attached(link)
            case InstanceLost(link):
                self._library.instance_lost(link)
            case DeploymentDrained(deployment):
                self._library.deployment_drained(gateway, deployment)
            case RepositoryCommand() | RegisterRegion() | UnregisterRegion() if (
                self._tasks is not None and not self._stopping.is_set()
            ):
                work = self._follow(message, gateway.answer())
                task = self._tasks.create_task(work, name="command")
                self._commands.add(task)
                task.add_done_callback(self._commands.discard)

    # --- the life of the server --------------------------------------------------------------

    def _scan(self) -> Scan:
        try:
            found = scan(self._settings.models)
        except (ScanError, OSError) as error:
            raise StartError(str(error)) from None
        names = {model.name for model in found.models}
        for named in (*self._settings.trust, *self._settings.model):
            if named not in names:
                _log.warning("settings name a model that is not there", model=named)
        for note in found.notes:
            _log.warning(note)
        return found

    def _terms(self, gateways: int) -> LibraryTerms:
        settings = self._settings
        return LibraryTerms(
            paths=settings.models,
            override=settings.override,
            devices=settings.devices,
            machine=self._machine,
            workers=WorkerTerms(self._programs.worker, settings.load_timeout),
            parallel_loads=settings.parallel_loads,
            drain_bound=settings.max_request_time + DRAIN_MARGIN,
            gateways=gateways,
        )

    def _number_of_gateways(self, found: Scan) -> int:
        settings, machine = self._settings, self._machine
        if settings.gateways != "auto":
            return settings.gateways
        workers = cpu_workers(
            found.models, settings.override, devices=settings.devices, machine=machine
        )
        number = gateways_for(machine.cores, workers)
        _log.info("gateways", number=number, cores=machine.cores, workers_on_cpu=workers)
        return number

    def _require_writable(self, ready_file: ReadyFile) -> None:
        """Find out that the ready file cannot be written before minutes go into loading."""
        try:
            ready_file.check()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> StartError:
        path = self._settings.ready_file
        return StartError(f"the ready file {path} cannot be written: {error.strerror}")

    async def _opened(self) -> str | None:
        """The address at which the gateways listen; None if we were stopped before they did."""
        try:
            return await self._doors.open()
        except ListenError as error:
            if self._stopping.is_set():
                return None
            raise StartError(f"the gateway did not start: {error}") from None

    async def _serve(self, found: Scan, address: str, ready_file: ReadyFile) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            starting = tasks.create_task(self._library.start(found.models), name="start models")
            self._starting = starting
            stopping = tasks.create_task(self._stopping.wait(), name="wait for the end")
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not self._stopping.is_set():
                await self._become_ready(found, address, ready_file)
                await stopping
            self._tasks = None
            await self._doors.drain(0 if self._hurry else self._settings.grace)
            for task in (starting, *self._commands):
                task.cancel()

    async def _become_ready(self, found: Scan, address: str, ready_file: ReadyFile) -> None:
        self._ready = True
        self._doors.send(PublishServer(ready=True))
        await self._doors.settled()  # whoever reads the ready file finds every gateway ready
        try:
            ready_file.write(address, self._doors.http)
        except OSError as error:
            raise self._unwritable(error) from None
        doors = self._doors
        self._on_ready(summarise(self._library, address, len(doors), found.notes, doors.http))

    async def _end(self) -> None:
        """Every child ended and reaped, in a bounded time."""
        await self._library.stop()
        self._doors.kill()
        await self._doors.reaped()
        self._regions.close()

    def _kill(self) -> None:
        self._doors.kill()
        self._library.kill()

    async def _follow(self, command: Command, answer: Callable[[ToGateway], None]) -> None:
        """Do what a client asks for, and answer."""
        fault: Fault | None = None
        try:
            await self._perform(command)
        except ServingError as error:
            fault = Fault(error.reason, error.message, error.retry_after)
        except Exception:
            _log.exception("command failed", command=str(command))
            fault = Fault(Unexpected.reason, "this failed; the server's log says why")
        # Whichever gateway the client calls next, it finds what the answer says.
        await self._doors.settled()
        answer(CommandAnswer(command.command, fault))

    async def _perform(self, command: Command) -> None:
        settings = self._settings
        if isinstance(command, RepositoryCommand):
            if not settings.may_control_repository:
                raise Forbidden("the operator of this server has switched off loading by clients")
            if command.verb == "load":
                await self._library.load(command.model)
            else:
                await self._library.unload(command.model)
        elif not settings.client_shared_memory:
            raise Forbidden("the operator of this server has not allowed shared memory")
        elif isinstance(command, RegisterRegion):
            self._regions.register(command)
        else:
            self._regions.unregister(command.name)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
