"""Deadlines, cancellation and limits while requests wait."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
import pytest

from support.calls import ROWS, Begun, begin, call, request, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

Start = Callable[..., tuple[GatewayUnderTest, grpc.Channel]]


def held(channel: grpc.Channel, worker: LinkWorker) -> Begun:
    """A request that the worker holds, so that all further ones wait."""
    worker.go.clear()
    begun = begin(channel, rows([[-1]]))
    assert worker.arrived.acquire(timeout=10)
    return begun


def later(channel: grpc.Channel, *values: float) -> list[Begun]:
    """Requests that are queued, in this order, when this returns."""
    begun = []
    for value in values:
        begun.append(begin(channel, rows([[value]])))
        call(channel, b"", "ServerLive")
    return begun


def test_a_deadline_that_passes_in_the_queue_is_told(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The caller's own deadline; the worker never sees the request."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    first = held(channel, worker)
    outcome = call(channel, rows([[1]]), timeout=0.05)
    assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert values_of(call(channel, rows([[2]]))) == [[2]]
    assert worker.batches == [1, 1]


def test_the_queue_timeout_of_a_request_is_kept(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The parameter `timeout`, in microseconds, whole requests and split ones."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    first = held(channel, worker)
    for count in (1, 9):
        message = request("m", ("x", "FP32", (count, 1)), raw=[bytes(4 * count)])
        message.parameters["timeout"].int64_param = 20_000
        outcome = call(channel, message.SerializeToString())
        assert (outcome.code.name, outcome.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        assert "Request timeout expired" in outcome.message
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert worker.batches == [1]


def test_without_a_deadline_the_servers_own_holds(start: Start) -> None:
    """No request waits for ever (M89)."""
    gateway, channel = start(max_request_time=0.05)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    first = held(channel, worker)
    assert call(channel, rows([[1]]), timeout=None).code is grpc.StatusCode.DEADLINE_EXCEEDED
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert worker.batches == [1]


def test_a_full_queue_refuses_and_a_cancelled_caller_makes_room(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The limit is exact, the refusal says not to retry, and no place is lost."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_size=2)
    first = held(channel, worker)
    waiting = later(channel, 1, 2)
    outcome = call(channel, rows([[3]]))
    assert (outcome.code.name, outcome.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert outcome.retry_after is None
    waiting[0].cancel()
    again = begin(channel, rows([[4]]))
    while refused(again, channel):  # until the cancellation has reached the server
        again = begin(channel, rows([[4]]))
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert values_of(waiting[1].outcome()) == [[2]]
    assert values_of(again.outcome()) == [[4]]
    assert worker.batches == [1, 2]


def refused(begun: Begun, channel: grpc.Channel) -> bool:
    """Whether a request was refused at once; else it waits."""
    for _ in range(3):
        call(channel, b"", "ServerLive")
    return begun.future.done() and begun.outcome().code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_caller_that_leaves_is_not_executed(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Nor are the waiting pieces of a split request; others are, in full batches."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    first = held(channel, worker)
    split = begin(channel, rows([[9]] * 11))
    call(channel, b"", "ServerLive")
    kept = later(channel, 1, 2)
    split.cancel()
    for _ in range(5):
        call(channel, b"", "ServerLive")
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert [values_of(each.outcome()) for each in kept] == [[[1]], [[2]]]
    assert worker.batches == [1, 2]


def test_a_delay_gathers_a_batch(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Requests within the delay share an execution though the worker was free."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_delay=30.0)
    begun = later(channel, 1, 2, 3)
    assert worker.batches == []
    begun += later(channel, 4)  # the batch is full
    assert [values_of(each.outcome()) for each in begun] == [[[1]], [[2]], [[3]], [[4]]]
    assert worker.batches == [4]


def test_a_delay_ends_by_the_clock(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """A single request goes when the delay is over, with nobody else to wake the queue."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_delay=0.02)
    for value in (1.0, 2.0):
        assert values_of(call(channel, rows([[value]]))) == [[value]]
    assert worker.batches == [1, 1]


def test_what_a_full_batch_leaves_behind_goes_by_the_clock(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Also when the worker was busy while the delay of those before it ended."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_delay=0.05)
    worker.go.clear()
    first = begin(channel, rows([[0]] * 4))
    assert worker.arrived.acquire(timeout=10)
    big = begin(channel, rows([[1]] * 3))
    call(channel, b"", "ServerLive")
    # Its end says that the clock has rung once and found the worker busy.
    timed = request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)])
    timed.parameters["timeout"].int64_param = 80_000
    assert call(channel, timed.SerializeToString()).code is grpc.StatusCode.DEADLINE_EXCEEDED
    rest = begin(channel, rows([[2]] * 2))
    call(channel, b"", "ServerLive")
    worker.go.set()
    assert first.outcome().code is grpc.StatusCode.OK
    assert big.outcome().code is grpc.StatusCode.OK
    assert values_of(rest.outcome()) == [[2], [2]]
    assert worker.batches == [4, 3, 2]


@pytest.mark.parametrize("size", [(1 << 20) - 100, 1 << 20])
def test_the_size_of_messages_is_a_setting(start: Start, size: int) -> None:
    """Below it a request is served whole, above it it is refused by gRPC's own code."""
    gateway, channel = start(max_message_bytes=1 << 20)
    gateway.deploy("m", ROWS, [LinkWorker()])
    count = size // 4
    raw = np.zeros(count, np.float32).tobytes()
    payload = request("m", ("x", "FP32", (1, count)), raw=[raw]).SerializeToString()
    code = call(channel, payload).code
    served = len(payload) <= 1 << 20
    assert code is (grpc.StatusCode.OK if served else grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_64_mib_go_through_by_default(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """A caller needs no option to send them, and to read as much back it raises its own limit."""
    gateway.deploy("m", ROWS, [LinkWorker(lambda inputs, _: [each for each in inputs if each])])
    count = (64 << 20) // 4 - 64
    payload = request("m", ("x", "FP32", (1, count)), raw=[bytes(4 * count)]).SerializeToString()
    with grpc.insecure_channel(gateway.address, [("grpc.max_receive_message_length", -1)]) as roomy:
        response = call(roomy, payload).response
    assert len(response.raw_output_contents[0]) == 4 * count
