"""A whole gateway in a thread of the test, with the test in the supervisor's place."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Self, TypeVar

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    AskCounts,
    CountsReport,
    DoorChoice,
    DrainGateway,
    FromGateway,
    InstanceAttached,
    InstanceLost,
    Listening,
    OpenDoor,
    OtherCounts,
    Pinning,
    PublishModel,
    PublishServer,
    SequenceTerms,
    Settle,
    Settled,
    StartGateway,
    ToGateway,
    Tracing,
    VersionCounts,
    VersionMemory,
    VersionState,
)
from inferd.core.link.sockets import MessageSocket, PeerGone, socket_pair
from inferd.server.gateway.app import serve
from inferd.wire.signature import Signature
from support.link_worker import LinkWorker

Message = TypeVar("Message")


INSTANCE = 3
"""Which of its deployment's instances each says it is: no number that comes up by itself."""


class GatewayUnderTest:
    """Listens on a free port of 127.0.0.1; leaving the context drains it."""

    def __init__(
        self,
        *,
        max_message_bytes: int = 64 << 20,
        max_request_time: float = 60.0,
        max_arena_bytes: int = 1 << 30,
        repository_control: bool = True,
        client_shared_memory: bool = False,
        door: DoorChoice = "auto",
        opened: bool = True,
        http: bool = False,
        tracing: Tracing = "off",
        trace_sampling: float = 0.01,
        access_log: float = 0.0,
    ) -> None:
        """With `opened` False it binds its port and waits to be told to accept calls.

        With `http` it also listens for HTTP, at a port of its own.
        """
        self._start = StartGateway(
            address="127.0.0.1:0",
            max_message_bytes=max_message_bytes,
            max_request_time=max_request_time,
            max_arena_bytes=max_arena_bytes,
            repository_control=repository_control,
            client_shared_memory=client_shared_memory,
            door=door,
            http="127.0.0.1:0" if http else None,
            tracing=tracing,
            trace_sampling=trace_sampling,
            access_log=access_log,
        )
        ours, theirs = socket_pair()
        self.control: MessageSocket[ToGateway, FromGateway] = MessageSocket(ours, FromGateway)
        self._theirs: MessageSocket[FromGateway, ToGateway] = MessageSocket(theirs, ToGateway)
        self._thread = threading.Thread(target=serve, args=(self._theirs,), daemon=True)
        self._opened = opened
        self._numbers = 0
        self.lost: list[int] = []
        self.other_counts: tuple[VersionCounts, ...] = ()
        """What the gateway hears that other ones have counted."""
        self.memory: tuple[VersionMemory, ...] = ()
        """What it hears that versions take."""
        self._said: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._early: deque[object] = deque()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self.address = ""
        self.http = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._listener.start()
        self.control.send(self._start)
        listening = self.expect(Listening)
        self.address, self.http = listening.address, listening.http or ""
        if self._opened:
            self.control.send(PublishServer(ready=True))
            self.control.send(OpenDoor())
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(PeerGone):  # it may have drained already
            self.control.send(DrainGateway(grace=5))
        self.join()
        self._listener.join(20)
        self.control.close()
        self._theirs.close()

    def join(self) -> None:
        """Wait until a gateway that drains has ended."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the gateway did not drain"

    def expect(self, kind: type[Message]) -> Message:
        """The gateway's next message, which must be of this kind; `lost` keeps lost links."""
        message = self._next()
        while isinstance(message, InstanceLost) and not issubclass(kind, InstanceLost):
            self.lost.append(message.link)
            message = self._next()
        assert isinstance(message, kind), message
        return message

    def deploy(
        self,
        model: str,
        signature: Signature,
        workers: Sequence[LinkWorker],
        *,
        version: int = 1,
        takes_parameters: bool = False,
        max_queue_size: int = 1000,
        max_queue_delay: float = 0.0,
        labels: dict[str, tuple[str, ...]] | None = None,
        sequences: SequenceTerms | None = None,
        publish: bool = True,
        decoupled: bool = False,
        max_streams: int = 64,
    ) -> int:
        """Add a deployment with these workers and route the model to it alone."""
        self._numbers += 1
        number = self._numbers
        self.control.send(
            AddDeployment(
                deployment=number,
                model=model,
                version=version,
                platform="test",
                signature=signature,
                takes_parameters=takes_parameters,
                max_queue_size=max_queue_size,
                max_queue_delay=max_queue_delay,
                instances=tuple(Pinning("cpu") for _ in workers),
                decoupled=decoupled,
                max_streams=max_streams,
                labels=labels or {},
                sequences=sequences,
            )
        )
        for worker in workers:
            self.attach(number, worker)
        if publish:
            self.publish(model, VersionState(version, "READY", "", number))
        return number

    def attach(self, deployment: int, worker: LinkWorker) -> None:
        """Give a deployment one more worker."""
        self._numbers += 1
        message = AddInstance(deployment, self._numbers, "cpu", INSTANCE)
        self.control.send(message, [worker.gateway_end.fileno()])
        worker.gateway_end.close()
        assert self.expect(InstanceAttached).link == self._numbers

    def publish(self, model: str, *versions: VersionState) -> None:
        """Say what versions a model has; the gateway knows when this returns."""
        self.control.send(PublishModel(model, versions))
        self.settle()

    def settle(self) -> None:
        """Return when the gateway has followed every message sent so far."""
        self._numbers += 1
        number = self._numbers
        self.control.send(Settle(number))
        while (message := self._said.get(timeout=30)) != Settled(number):
            self._early.append(message)

    def _next(self) -> object:
        message = self._early.popleft() if self._early else self._said.get(timeout=30)
        if isinstance(message, Exception):
            raise message
        return message

    def _listen(self) -> None:
        """Answer what the gateway asks of itself and keep the rest for the test."""
        try:
            while True:
                message = self.control.receive()
                if isinstance(message, AskCounts):
                    answer = OtherCounts(
                        message.ask, self.other_counts, last=True, memory=self.memory
                    )
                    self.control.send(answer)
                elif not isinstance(message, CountsReport):
                    self._said.put(message)
        except PeerGone as gone:
            self._said.put(gone)
