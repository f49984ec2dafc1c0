"""Callers that leave, time that runs out, and the end of the server, over HTTP."""

from __future__ import annotations

import http.client
import threading
from time import monotonic

from inferd.core.link.messages import (
    DrainGateway,
    FromGateway,
    ListenFailed,
    OpenDoor,
    RepositoryCommand,
    StartGateway,
    ToGateway,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.server.gateway.app import serve
from support.calls import ROWS
from support.gateway import GatewayUnderTest
from support.http import ask, begin, end, send
from support.link_worker import LinkWorker

INFER = "/v2/models/m/infer"


def row(value: float, **parameters: object) -> dict[str, object]:
    """A request of one row."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}
    return {"inputs": [tensor], "parameters": parameters}


def connect(gateway: GatewayUnderTest) -> http.client.HTTPConnection:
    """A connection that is kept."""
    connection = http.client.HTTPConnection(gateway.http, timeout=20)
    assert send(connection, "/v2/health/live").status == 200
    return connection


def test_requests_of_several_callers_share_a_batch(gateway: GatewayUnderTest) -> None:
    """Over both doors they wait in the same queue."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    callers = [connect(gateway) for _ in range(4)]
    begin(callers[0], INFER, row(0))
    assert worker.arrived.acquire(timeout=10)
    for number, each in enumerate(callers[1:]):
        begin(each, INFER, row(number + 1))
    _seen(gateway)
    worker.go.set()
    answers = [end(each).document["outputs"][0]["data"] for each in callers]
    assert answers == [[0], [1], [2], [3]]
    assert worker.batches == [1, 3]
    for each in callers:
        each.close()


def test_a_request_whose_caller_left_is_not_executed(gateway: GatewayUnderTest) -> None:
    """Closing the connection takes it out of the queue."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_size=2)
    worker.go.clear()
    first, leaves, stays = (connect(gateway) for _ in range(3))
    begin(first, INFER, row(1))
    assert worker.arrived.acquire(timeout=10)
    begin(leaves, INFER, row(2))
    begin(stays, INFER, row(3))
    _seen(gateway)
    assert ask(gateway.http, INFER, row(0)).document["reason"] == "QUEUE_FULL"
    leaves.close()
    assert _finds_room(gateway)
    worker.go.set()
    assert end(first).document["outputs"][0]["data"] == [1]
    assert end(stays).document["outputs"][0]["data"] == [3]
    assert worker.batches == [1, 1]
    first.close()
    stays.close()


def test_the_parameter_timeout_bounds_the_wait(gateway: GatewayUnderTest) -> None:
    """In microseconds, as over gRPC; the connection goes on."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    first, late = connect(gateway), connect(gateway)
    begin(first, INFER, row(1))
    assert worker.arrived.acquire(timeout=10)
    outcome = send(late, INFER, row(2, timeout=50_000))
    assert (outcome.status, outcome.document["reason"]) == (504, "DEADLINE_EXCEEDED")
    worker.go.set()
    assert end(first).status == 200
    assert send(late, INFER, row(3)).status == 200
    first.close()
    late.close()


def test_a_drain_answers_what_is_in_flight_and_refuses_what_comes(
    gateway: GatewayUnderTest,
) -> None:
    """With 503 on open and on new connections, while it still lives; then everything is closed."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    held, open_already = connect(gateway), connect(gateway)
    begin(held, INFER, row(7))
    assert worker.arrived.acquire(timeout=10)
    gateway.control.send(DrainGateway(grace=20))
    while ask(gateway.http, "/v2/health/ready").status == 200:
        pass
    for outcome in (send(open_already, INFER, row(1)), ask(gateway.http, INFER, row(1))):
        assert (outcome.status, outcome.document["reason"]) == (503, "DRAINING")
    assert ask(gateway.http, "/v2/health/live").status == 200
    worker.go.set()
    assert end(held).document["outputs"][0]["data"] == [7]
    gateway.join()
    held.close()
    open_already.close()


def test_requests_that_outlast_the_grace_are_told(gateway: GatewayUnderTest) -> None:
    """An inference and a load; the worker's and the supervisor's late answers hurt nothing."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    held, loads = connect(gateway), connect(gateway)
    begin(held, INFER, row(7))
    assert worker.arrived.acquire(timeout=10)
    begin(loads, "/v2/repository/models/m/load", b"")
    asked = gateway.expect(RepositoryCommand)
    gateway.control.send(DrainGateway(grace=0.05))
    for connection in (held, loads):
        outcome = end(connection)
        assert (outcome.status, outcome.document["reason"]) == (503, "DRAINING")
        connection.close()
    worker.go.set()
    gateway.join()
    assert asked.model == "m"


def test_small_answers_are_not_held_back(gateway: GatewayUnderTest) -> None:
    """The system does not wait for more to send: that would be 40 ms for every request."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    connection = connect(gateway)
    quickest = min(_seconds(connection) for _ in range(20))
    connection.close()
    assert quickest < 0.03


def _seconds(connection: http.client.HTTPConnection) -> float:
    begun = monotonic()
    assert send(connection, INFER, row(1)).status == 200
    return monotonic() - begun


def test_an_idle_server_drains_at_once(gateway: GatewayUnderTest) -> None:
    """Connections without requests do not hold it."""
    connection = connect(gateway)
    gateway.control.send(DrainGateway(grace=60))
    gateway.join()
    connection.close()


def test_a_port_that_is_taken_is_reported(gateway: GatewayUnderTest) -> None:
    """The supervisor hears which address it is, and that it is the one for HTTP."""
    ours, theirs = socket_pair()
    control: MessageSocket[ToGateway, FromGateway] = MessageSocket(ours, FromGateway)
    other: MessageSocket[FromGateway, ToGateway] = MessageSocket(theirs, ToGateway)
    control.send(
        StartGateway(
            address="127.0.0.1:0",
            max_message_bytes=1 << 20,
            max_request_time=1.0,
            max_arena_bytes=1 << 20,
            repository_control=False,
            http=gateway.http,
        )
    )
    assert serve(other) == 1
    message = control.receive()
    assert isinstance(message, ListenFailed)
    assert message.over_http
    assert gateway.http in message.reason
    control.close()
    other.close()


def test_nobody_is_served_before_the_doors_open() -> None:
    """Whoever connects early waits: the gateway might not know the models yet."""
    with GatewayUnderTest(http=True, opened=False) as gateway:
        connection = http.client.HTTPConnection(gateway.http, timeout=20)
        begin(connection, "/v2/health/ready")
        answered = threading.Event()

        def wait() -> None:
            end(connection)
            answered.set()

        threading.Thread(target=wait, daemon=True).start()
        gateway.settle()
        assert not answered.is_set()
        gateway.control.send(OpenDoor())
        assert answered.wait(20)
        connection.close()


def _seen(gateway: GatewayUnderTest) -> None:
    """Return when all that was sent so far has been read: the loop takes what is there in turn."""
    for _ in range(3):
        assert ask(gateway.http, "/v2/health/live").status == 200


def _finds_room(gateway: GatewayUnderTest) -> bool:
    """Whether a request is queued before long; it gives up soon after."""
    for _ in range(1000):
        status = ask(gateway.http, INFER, row(0, timeout=20_000)).status
        if status != 429:
            return status == 504
    return False
