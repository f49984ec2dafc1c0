"""Callers that leave before the gateway asks after them: nothing is executed in vain."""

from __future__ import annotations

import grpc

from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED
from support.calls import ROWS, Begun, begin, call, request, rows, values_of
from support.conversation import Conversation
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def held(gateway: GatewayUnderTest, channel: grpc.Channel) -> tuple[LinkWorker, Begun]:
    """A worker known to be quick, so that nobody asks after callers at once, and what it holds.

    One more request may wait for it.
    """
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_size=1)
    for n in range(5):
        assert values_of(call(channel, rows([[n]]))) == [[n]]
        assert worker.arrived.acquire(timeout=10)
    worker.go.clear()
    begun = begin(channel, rows([[-1]]))
    assert worker.arrived.acquire(timeout=10)
    return worker, begun


def queued(channel: grpc.Channel) -> bool:
    """Whether a request finds room in the queue before long; it gives up soon after."""
    timed = request("m", ("x", "FP32", (1, 1)), raw=[bytes(4)])
    timed.parameters["timeout"].int64_param = int(UNANSWERED * 1e6)
    for _ in range(1000):
        code = call(channel, timed.SerializeToString()).code
        if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            return True
    return False


def goes_on(channel: grpc.Channel, worker: LinkWorker, first: Begun) -> None:
    """What the worker held is answered, and the next that it sees is a new request."""
    before = list(worker.batches)
    worker.go.set()
    assert values_of(first.outcome()) == [[-1]]
    assert values_of(call(channel, rows([[9]]))) == [[9]]
    assert worker.batches == [*before, 1]


def test_a_caller_that_leaves_at_once_is_not_executed(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """It is gone when the gateway asks after it, and makes room while the worker is still busy."""
    worker, first = held(gateway, channel)
    gone = begin(channel, rows([[5]]))
    call(channel, b"", "ServerLive")
    gone.cancel()
    assert queued(channel)
    goes_on(channel, worker, first)


def test_a_stream_that_is_left_at_once_is_not_executed(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The same for a request on a stream."""
    worker, first = held(gateway, channel)
    stream = Conversation(channel)
    stream.send(rows([[5]]))
    call(channel, b"", "ServerLive")
    stream.leave()
    assert queued(channel)
    goes_on(channel, worker, first)
    assert stream.code() is grpc.StatusCode.CANCELLED
