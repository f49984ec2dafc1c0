"""One contract for every transport, against a real gRPC server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic

import psutil
import pytest

from inferd.bench.client.aio import AioStream, AioUnary
from inferd.bench.client.core import CoreUnknown, check_core, cygrpc
from inferd.bench.client.messages import StreamPayload
from inferd.bench.client.stream import CoreStream
from inferd.bench.client.transport import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    OK,
    Transport,
    TransportClosed,
)
from inferd.bench.client.unary import CoreUnary
from inferd.protos import oip_pb2 as oip
from inferd.wire.errors import QueueFull
from support.oip_server import OipServer

Make = Callable[[str, bytes], Transport]

UNARY: dict[str, Make] = {"core": CoreUnary, "aio": AioUnary}
STREAMS: dict[str, Make] = {
    "core": lambda address, payload: CoreStream(address, StreamPayload(payload)),
    "aio": lambda address, payload: AioStream(address, StreamPayload(payload)),
}
ALL = {
    **{f"{name}-unary": make for name, make in UNARY.items()},
    **{f"{name}-stream": make for name, make in STREAMS.items()},
}


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A real gRPC server."""
    with OipServer() as running:
        yield running


def payload(model: str = "identity-fp32") -> bytes:
    """A request that the server answers."""
    request = oip.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(bytes(8))
    return request.SerializeToString()


@pytest.fixture(params=ALL)
def transport(request: pytest.FixtureRequest, server: OipServer) -> Iterator[Transport]:
    """Each transport, connected and started."""
    made = ALL[request.param](server.address, payload())
    assert made.reach(10) is None
    made.start(10, monotonic() + 10)
    yield made
    made.cancel()


def test_every_request_is_answered_once(transport: Transport, server: OipServer) -> None:
    """Tags come back, whatever their order; then the transport can be used for another load."""
    for tags in ([1e9, 2e9, 3e9], [4e9]):
        for tag in tags:
            transport.send(tag)
        answers = [transport.take() for _ in tags]
        assert sorted(each.tag for each in answers) == tags
        assert {each.code for each in answers} == {OK}
        transport.finish()
        transport.start(10, monotonic() + 10)
    assert len(server.requests) == 4


def test_errors_have_their_message(transport: Transport, server: OipServer) -> None:
    """A refused request fails alone."""
    server.faults.append(QueueFull("no room"))
    transport.send(1e9)
    refused = transport.take()
    assert refused.code != OK
    assert "no room" in refused.text
    transport.send(2e9)
    assert transport.take().code == OK


def test_what_is_never_answered_ends_at_its_deadline(
    transport: Transport, server: OipServer
) -> None:
    """No request outlives its time, on a stream not that of the whole load."""
    transport.start(0.1, monotonic())
    with server.holding():
        transport.send(monotonic())
        assert transport.take().code == DEADLINE_EXCEEDED


def test_cancel_ends_what_waits(transport: Transport, server: OipServer) -> None:
    """From another thread; nothing can be sent after it."""
    with server.holding():
        for _ in range(3):
            transport.send(1e9)
        canceller = threading.Thread(target=transport.cancel)
        canceller.start()
        assert {transport.take().code for _ in range(3)} == {CANCELLED}
        canceller.join(10)
    with pytest.raises(TransportClosed):
        transport.send(1e9)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_broken_stream_is_opened_anew(server: OipServer, kind: str) -> None:
    """Its requests fail with the stream's status; the next request has a new stream."""
    transport = STREAMS[kind](server.address, payload())
    transport.start(10, monotonic() + 10)
    server.without.add("ModelStreamInfer")
    transport.send(1e9)
    broken = transport.take()
    assert (broken.code, "not offered" in broken.text) == (12, True)
    server.without.clear()
    transport.send(2e9)
    assert transport.take().code == OK
    assert server.calls["ModelStreamInfer"] == 2
    transport.cancel()


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_server_that_is_not_there_is_said_so(make: Make) -> None:
    """Reaching it tells why not."""
    with OipServer() as gone:
        pass
    transport = make(gone.address, payload())
    assert "failed to connect" in (transport.reach(2) or "")
    transport.cancel()


def test_connections_are_not_shared(server: OipServer) -> None:
    """Two transports of one process have two connections: gRPC would share one by itself."""
    transports = [CoreUnary(server.address, payload()) for _ in range(2)]
    for each in transports:
        assert each.reach(10) is None
    port = int(server.address.rpartition(":")[2])
    to_server = [
        each
        for each in psutil.Process().net_connections()
        if each.status == psutil.CONN_ESTABLISHED and each.raddr.port == port
    ]
    assert len(to_server) == 2
    for each in transports:
        each.cancel()


def test_a_core_of_another_shape_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is missing."""
    check_core()
    monkeypatch.delattr(cygrpc, "IntegratedCall")
    with pytest.raises(CoreUnknown, match="no IntegratedCall with operate, cancel"):
        check_core()
