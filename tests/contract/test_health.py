"""grpc.health.v1 tells the truth, once or whenever it changes."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from inferd.core.link.messages import DrainGateway, PublishServer, VersionState
from support.calls import ROWS, SERVICE, call
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING
_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN

_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


def check(channel: grpc.Channel, service: str) -> int | grpc.StatusCode:
    """The status of a service, or the code of the error."""
    outcome = call(channel, HealthCheckRequest(service=service).SerializeToString(), _CHECK)
    if outcome.code is not grpc.StatusCode.OK:
        return outcome.code
    status: int = HealthCheckResponse.FromString(outcome.payload).status
    return status


class Watch:
    """A watch under way."""

    def __init__(self, channel: grpc.Channel, service: str) -> None:
        method = channel.unary_stream(_WATCH, request_serializer=bytes, response_deserializer=bytes)
        self.call = method(HealthCheckRequest(service=service).SerializeToString(), timeout=20)

    def next(self) -> int:
        """The next status that comes."""
        status: int = HealthCheckResponse.FromString(next(iter(self.call))).status
        return status

    def leave(self) -> None:
        """Watch no longer."""
        self.call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped


def test_the_server_is_known_under_three_names(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The empty name and the service's are the server, `model/NAME` a model."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.publish("failed", VersionState(1, "UNAVAILABLE", "broken", None))
    service = SERVICE.strip("/")
    assert [check(channel, name) for name in ("", service, "model/m")] == [_SERVING] * 3
    assert check(channel, "model/failed") == _NOT_SERVING
    for name in ("m", "model/", "model/n", "x" * 10_000):
        assert check(channel, name) is grpc.StatusCode.NOT_FOUND
    gateway.control.send(PublishServer(ready=False))
    gateway.settle()
    assert check(channel, "") == _NOT_SERVING
    assert check(channel, "model/m") == _SERVING


def test_a_watch_sees_the_last_worker_go_and_a_new_one_come(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """One of two workers changes nothing; each change is told once."""
    first, second = LinkWorker(), LinkWorker()
    deployment = gateway.deploy("m", ROWS, [first, second])
    watch = Watch(channel, "model/m")
    assert watch.next() == _SERVING
    first.die()
    second.die()
    assert watch.next() == _NOT_SERVING
    gateway.attach(deployment, LinkWorker())
    assert watch.next() == _SERVING
    watch.leave()


def test_a_watch_of_the_unknown_waits_for_it(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """It starts as SERVICE_UNKNOWN and sees the model come and go."""
    watch = Watch(channel, "model/m")
    assert watch.next() == _UNKNOWN
    gateway.deploy("m", ROWS, [LinkWorker()])
    assert watch.next() == _SERVING
    gateway.publish("m")
    assert watch.next() == _UNKNOWN
    watch.leave()


def test_a_drain_ends_every_watch_with_not_serving(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The watcher hears of it, and the drain does not wait for the watcher."""
    watch = Watch(channel, "")
    assert watch.next() == _SERVING
    gateway.control.send(DrainGateway(grace=60))
    assert watch.next() == _NOT_SERVING
    with pytest.raises(grpc.RpcError):
        watch.next()
    assert watch.call.code() is grpc.StatusCode.UNAVAILABLE
    gateway.join()


def test_a_watch_without_a_message_ends(channel: grpc.Channel) -> None:
    """And leaves no watcher behind."""
    method = channel.stream_stream(_WATCH, request_serializer=bytes, response_deserializer=bytes)
    answers = method(iter([]), timeout=10)
    with pytest.raises(grpc.RpcError):
        list(answers)
    assert answers.code() is grpc.StatusCode.INVALID_ARGUMENT
