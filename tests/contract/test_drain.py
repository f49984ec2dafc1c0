"""Ending in good order, and refusing to start on a port that is taken."""

from __future__ import annotations

import threading

import grpc
import pytest

from inferd.core.link.messages import (
    CommandAnswer,
    DoorChoice,
    DrainGateway,
    FromGateway,
    ListenFailed,
    RepositoryCommand,
    StartGateway,
    ToGateway,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.protos import oip_pb2 as oip
from inferd.server.gateway.app import serve
from support.calls import ROWS, begin, call, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def refused(channel: grpc.Channel) -> bool:
    """Whether a new call is turned away; whatever the reason, a retry elsewhere may succeed.

    The core leaves a connection that it was just accepting without a word; hence the short timeout.
    """
    return call(channel, b"", "ServerLive", timeout=1).code is grpc.StatusCode.UNAVAILABLE


def test_calls_in_flight_are_answered_and_new_ones_refused(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Executing, waiting and split ones; nothing is lost."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = [begin(channel, rows([[float(n)] * 2] * (n + 1))) for n in range(8)]
    assert worker.arrived.acquire(timeout=10)
    for _ in range(8):
        call(channel, b"", "ServerLive")
    gateway.control.send(DrainGateway(grace=20))
    with grpc.insecure_channel(gateway.address, [("grpc.use_local_subchannel_pool", 1)]) as other:
        while not refused(other):
            pass
    worker.go.set()
    for n, each in enumerate(begun):
        assert values_of(each.outcome()) == [[float(n)] * 2] * (n + 1)
    gateway.join()


def test_calls_that_outlast_the_grace_are_cancelled(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The worker's answer, coming afterwards, finds nobody and hurts nothing."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = [begin(channel, rows([[0]])) for _ in range(3)]
    assert worker.arrived.acquire(timeout=10)
    for _ in range(3):
        call(channel, b"", "ServerLive")
    gateway.control.send(DrainGateway(grace=0.05))
    assert {each.outcome().code for each in begun} == {grpc.StatusCode.UNAVAILABLE}
    worker.go.set()
    gateway.join()


def test_a_command_answered_after_the_grace_hurts_nothing(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer on a call whose queue is gone would abort the whole process."""
    from inferd.server.gateway.dataplane import Dataplane

    drained, answered = threading.Event(), threading.Event()
    stop = Dataplane.stop

    def stop_later(dataplane: Dataplane) -> None:
        drained.set()
        assert answered.wait(10)
        stop(dataplane)

    monkeypatch.setattr(Dataplane, "stop", stop_later)
    payload = oip.RepositoryModelLoadRequest(model_name="m").SerializeToString()
    begun = begin(channel, payload, "RepositoryModelLoad")
    asked = gateway.expect(RepositoryCommand)
    gateway.control.send(DrainGateway(grace=0.05))
    assert drained.wait(10)
    gateway.control.send(CommandAnswer(asked.command, None))
    gateway.settle()
    answered.set()
    assert begun.outcome().code is grpc.StatusCode.UNAVAILABLE
    gateway.join()


def test_an_idle_gateway_drains_at_once(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """An open connection without calls does not hold it."""
    assert not refused(channel)
    gateway.control.send(DrainGateway(grace=60))
    gateway.join()


def test_a_port_that_is_taken_is_reported(gateway: GatewayUnderTest, door: DoorChoice) -> None:
    """The supervisor hears which address, and the process ends by itself."""
    ours, theirs = socket_pair()
    control: MessageSocket[ToGateway, FromGateway] = MessageSocket(ours, FromGateway)
    other: MessageSocket[FromGateway, ToGateway] = MessageSocket(theirs, ToGateway)
    control.send(
        StartGateway(
            address=gateway.address,
            max_message_bytes=1 << 20,
            max_request_time=1.0,
            max_arena_bytes=1 << 20,
            repository_control=False,
            door=door,
        )
    )
    assert serve(other) == 1
    message = control.receive()
    assert isinstance(message, ListenFailed)
    assert gateway.address in message.reason
    control.close()
    other.close()


def test_a_supervisor_that_is_gone_ends_the_gateway() -> None:
    """Before it said anything."""
    ours, theirs = socket_pair()
    other: MessageSocket[FromGateway, ToGateway] = MessageSocket(theirs, ToGateway)
    ours.close()
    assert serve(other) == 0
    other.close()
