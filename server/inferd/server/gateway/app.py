"""The gateway put together: dataplane, services and door, driven by the supervisor."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    AddRegion,
    CommandAnswer,
    DeploymentDrained,
    DrainGateway,
    FromGateway,
    FromLinkedWorker,
    InstanceAttached,
    InstanceLost,
    ListenFailed,
    Listening,
    OpenDoor,
    OtherCounts,
    PublishModel,
    PublishServer,
    RemoveRegion,
    ReportCounts,
    Settle,
    Settled,
    StartGateway,
    StateReport,
    ToGateway,
)
from inferd.core.link.sockets import MessageSocket, PeerGone, adopt
from inferd.core.telemetry.logs import get_logger
from inferd.protos.services import BULK_SERVICE, INFERENCE_SERVICE
from inferd.server.gateway.access_log import AccessLog
from inferd.server.gateway.commands import Commands
from inferd.server.gateway.counts import CountsReporter
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.others import OtherGateways
from inferd.server.gateway.rpc.call import Method, Unary
from inferd.server.gateway.rpc.door import make_door
from inferd.server.gateway.rpc.faults import DoorError, unexpected
from inferd.server.gateway.rpc.services.bulk.service import BulkService
from inferd.server.gateway.rpc.services.health import SERVICE as HEALTH_SERVICE
from inferd.server.gateway.rpc.services.health import Health
from inferd.server.gateway.rpc.services.inference import InferenceService
from inferd.server.gateway.rpc.services.reflection import Reflection
from inferd.server.gateway.rpc.services.runtime_settings import RuntimeSettings
from inferd.server.gateway.rpc.services.shared_memory import SharedMemoryService
from inferd.server.gateway.scheduling.instance import Link

if TYPE_CHECKING:
    from inferd.server.gateway.http.door import HttpDoor
    from inferd.server.gateway.tracing.writer import SpanWriter

_log = get_logger(__name__)

_COLD_THREADS = 2
"""Threads for everything but inference: enough for probes while one writes a long answer."""

MOST_LOADS = 2048
"""Versions with requests at hand in one report: what a message may carry."""

Control = MessageSocket[FromGateway, ToGateway]


class Gateway:
    """Does what the supervisor says, message by message, until it drains or the supervisor goes."""

    def __init__(self, control: Control, start: StartGateway) -> None:
        """Build all parts; `open` binds the address. Raises `DoorError`."""
        self._control = control
        self._ready = False
        self._draining = False
        self._commands = Commands(control.send)
        self._pool = ThreadPoolExecutor(_COLD_THREADS, thread_name_prefix="cold")
        make, self._writer = _dataplane(start)
        self._dataplane = make(
            max_message_bytes=start.max_message_bytes,
            max_request_time=start.max_request_time,
            max_arena_bytes=start.max_arena_bytes,
            shared_memory=start.client_shared_memory,
            drained=self._drained,
            lost=self._lost,
            changed=self._changed,
        )
        self._reporter = CountsReporter(self._dataplane.inspect, control.send)
        self._others = OtherGateways(control.send)
        self._access = (
            AccessLog(start.access_log, self._dataplane.table) if start.access_log else None
        )
        self._methods = methods = self._make_services(start)
        self._door = make_door(
            start.door,
            methods,
            max_message_bytes=start.max_message_bytes,
            share_port=start.share_port,
            lull=self._dataplane.lull,
        )
        self._http = self._http_door(start, methods) if start.http else None

    def _make_services(self, start: StartGateway) -> dict[str, Method]:
        """Their methods, by path."""
        table = self._dataplane.table
        self._health = Health(
            server_ready=lambda: self._ready,
            model_known=lambda name: name in table.models(),
            model_ready=table.is_ready,
        )
        memory = SharedMemoryService(
            self._dataplane.regions, self._commands, allowed=start.client_shared_memory
        )
        self._inference = InferenceService(
            self._dataplane,
            self._pool,
            server_ready=lambda: self._ready,
            command=self._commands.perform if start.repository_control else None,
            other_counts=self._others.counts,
            report=self._reporter.report,
            more={**memory.methods(), **RuntimeSettings(table).methods()},
            extensions=memory.extensions,
            access=self._access,
        )
        self._bulk = BulkService(self._dataplane, self._access)
        reflection = Reflection([INFERENCE_SERVICE, BULK_SERVICE, HEALTH_SERVICE])
        services = (self._inference, self._bulk, self._health, reflection)
        return {path: each for service in services for path, each in service.methods().items()}

    def open(self, address: str, http: str | None) -> Listening | ListenFailed:
        """Bind HOST:PORT of both doors; says with which ports, or why not.

        Whoever connects from now on waits until the supervisor has the doors opened.
        """
        try:
            if self._http is not None and http is not None:
                http = self._http.bind(http)
        except OSError as error:
            return ListenFailed(str(error), over_http=True)
        try:
            bound = self._door.bind(address)
        except DoorError as error:
            if self._http is not None:
                self._http.close()
            return ListenFailed(str(error))
        self._dataplane.start()
        self._reporter.start()
        if self._writer is not None:
            self._writer.start()
        # What lives now lives as long as the process: later collections need not look at it.
        gc.collect()
        gc.freeze()
        return Listening(bound, http)

    def run(self) -> None:
        """Follow the supervisor's messages until the gateway is drained or the supervisor gone."""
        try:
            while True:
                message, fds = self._control.receive_with_fds()
                self._follow(message, fds)
        except PeerGone:
            pass  # drained, or orphaned: either way this process is of no use any more
        self._pool.shutdown(cancel_futures=True)
        self._door.close()
        if self._access is not None:
            self._access.close()

    def _follow(self, message: ToGateway, fds: list[int]) -> None:
        match message:
            case AddDeployment():
                self._dataplane.add_deployment(message)
            case AddInstance():
                self._attach(message, fds.pop())
            case PublishModel():
                self._dataplane.publish(message)
            case PublishServer() | OpenDoor():
                self._announce(message)
            case AddRegion() | RemoveRegion():
                self._share(message, fds)
            case Settle() | ReportCounts() | OtherCounts() | CommandAnswer():
                self._converse(message)
            case DrainGateway(grace) if not self._draining:
                self._draining = True
                threading.Thread(target=self._drain, args=(grace,), name="drain").start()
            case StartGateway() | DrainGateway():
                _log.error("told twice: the second time is ignored", message=type(message).__name__)
        for fd in fds:
            os.close(fd)

    def _announce(self, message: PublishServer | OpenDoor) -> None:
        if isinstance(message, OpenDoor):
            self._door.start()
            if self._http is not None:
                self._http.start()
        else:
            self._ready = message.ready
            self._changed()

    def _share(self, message: AddRegion | RemoveRegion, fds: list[int]) -> None:
        if isinstance(message, AddRegion):
            self._dataplane.regions.add(message, fds.pop())
        else:
            self._dataplane.regions.remove(message.name)

    def _attach(self, message: AddInstance, fd: int) -> None:
        link: Link = MessageSocket(adopt(fd), FromLinkedWorker)
        if self._dataplane.attach(message, link):
            self._control.send(InstanceAttached(message.link))

    def _converse(self, message: Settle | ReportCounts | OtherCounts | CommandAnswer) -> None:
        """Questions of the supervisor, and its answers to ours."""
        match message:
            case Settle(number):
                self._control.send(Settled(number))
            case ReportCounts():
                self._reporter.report()
                self._control.send(self._state())
            case OtherCounts():
                self._others.answered(message)
            case CommandAnswer():
                self._commands.answered(message)

    def _state(self) -> StateReport:
        calls = [
            counts
            for path, method in self._methods.items()
            for counts in method.record.counts(path.removeprefix("/"))
        ]
        loads = [each for each in self._dataplane.loads() if each.queued or each.in_flight]
        return StateReport(tuple(loads[:MOST_LOADS]), tuple(calls), self._reporter.lag.worst)

    def _drain(self, grace: float) -> None:
        self._ready = False
        self._changed()
        self._health.close()
        self._inference.close()
        self._bulk.close()
        until = monotonic() + grace
        if self._http is not None:
            self._http.begin_to_drain()
        self._door.drain(grace)
        if self._http is not None:
            self._http.drain(max(0.0, until - monotonic()))
        self._dataplane.stop()
        self._reporter.close()
        if self._writer is not None:
            self._writer.close()
        self._control.hang_up()

    def _drained(self, deployment: int) -> None:
        self._control.send(DeploymentDrained(deployment))

    def _lost(self, link: int) -> None:
        with contextlib.suppress(PeerGone):
            self._control.send(InstanceLost(link))

    def _changed(self) -> None:
        self._health.changed()

    def _http_door(self, start: StartGateway, methods: Mapping[str, Method]) -> HttpDoor:
        # Only here: a gateway without HTTP does not carry what HTTP needs.
        from inferd.server.gateway.http.door import HttpDoor  # noqa: PLC0415

        unary = {path: each.handle for path, each in methods.items() if isinstance(each, Unary)}
        return HttpDoor(
            self._dataplane,
            unary,
            max_message_bytes=start.max_message_bytes,
            max_request_time=start.max_request_time,
            share_port=start.share_port,
            unexpected=unexpected,
            access=self._access,
        )


def _dataplane(start: StartGateway) -> tuple[Callable[..., Dataplane], SpanWriter | None]:
    """What makes the dataplane, and what exports its traces, if it has any."""
    if start.tracing == "off":
        return Dataplane, None
    # Only here: a gateway that does not trace carries nothing of OpenTelemetry.
    from inferd.server.gateway.tracing.dataplane import TracedDataplane  # noqa: PLC0415
    from inferd.server.gateway.tracing.tracer import Tracer  # noqa: PLC0415
    from inferd.server.gateway.tracing.writer import open_writer  # noqa: PLC0415

    writer = open_writer(start.tracing)
    tracer = Tracer(start.trace_sampling, writer.put, logged=start.access_log)
    return partial(TracedDataplane, tracer, unexpected), writer


def serve(control: Control) -> int:
    """Run a gateway on a fresh control connection; returns the exit code."""
    try:
        start, _ = control.receive_with_fds()
    except PeerGone:
        return 0
    if not isinstance(start, StartGateway):
        _log.error("the first message was no StartGateway", message=type(start).__name__)
        return 1
    try:
        gateway = Gateway(control, start)
    except DoorError as error:
        control.send(ListenFailed(str(error)))
        return 1
    outcome = gateway.open(start.address, start.http)
    control.send(outcome)
    if isinstance(outcome, ListenFailed):
        return 1
    gateway.run()
    return 0
