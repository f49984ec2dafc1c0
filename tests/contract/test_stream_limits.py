"""Streams that are left, late, one-sided or cut short: nothing is done in vain, nor piled up."""

from __future__ import annotations

import grpc
import pytest

from inferd.core.link.messages import DrainGateway, ParameterValue
from inferd.server.gateway.rpc.services import inference_stream
from inferd.server.gateway.rpc.services.inference_stream import MOST_UNANSWERED
from support.calls import ROWS, begin, call, rows, values_of
from support.conversation import Conversation, reach, read
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker, RawTensor


def test_a_caller_that_leaves_is_forgotten(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """What waits of its stream is not executed; what others sent is."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    stream = Conversation(channel)
    stream.send(rows([[0]]))
    assert worker.arrived.acquire(timeout=10)
    stream.send(*[rows([[n]]) for n in range(1, 8)])
    reach(channel)
    kept = begin(channel, rows([[9]]))
    stream.leave()
    reach(channel)
    worker.go.set()
    assert values_of(kept.outcome()) == [[9]]
    assert worker.batches == [1, 1]
    assert stream.code() is grpc.StatusCode.CANCELLED


def test_the_deadline_of_the_stream_is_that_of_each_request(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """When it has passed, nothing of the stream is executed any more."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    stream = Conversation(channel, timeout=1.0)
    stream.send(*[rows([[n]]) for n in range(8)])
    assert worker.arrived.acquire(timeout=10)
    assert stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    reach(channel)
    before = list(worker.batches)
    worker.go.set()
    assert values_of(call(channel, rows([[9]]))) == [[9]]
    assert worker.batches == [*before, 1]


def test_a_stream_is_read_no_further_than_its_bound(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A queue with room for that many is never full, however much is sent."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_size=MOST_UNANSWERED)
    worker.go.clear()
    stream = Conversation(channel)
    count = 3 * MOST_UNANSWERED
    stream.send(*[rows([[n]]) for n in range(count)])
    stream.half_close()
    assert worker.arrived.acquire(timeout=10)
    for _ in range(20):
        reach(channel)
    worker.go.set()
    assert [read(each) for each in stream.rest()] == [[[n]] for n in range(count)]


def test_large_requests_fill_the_bound_sooner(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them are the bound here: a queue with room for two is never full."""
    monkeypatch.setattr(inference_stream, "MOST_UNANSWERED_BYTES", 2 * len(rows([[0]])))
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], max_queue_size=2)
    worker.go.clear()
    stream = Conversation(channel)
    stream.send(*[rows([[n]]) for n in range(12)])
    stream.half_close()
    assert worker.arrived.acquire(timeout=10)
    for _ in range(20):
        reach(channel)
    worker.go.set()
    assert [read(each) for each in stream.rest()] == [[[n]] for n in range(12)]


def test_a_caller_that_does_not_read_is_not_read_from(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers fill a bounded room; when it reads at last, all of them are there."""
    monkeypatch.setattr(inference_stream, "MOST_UNANSWERED", 4)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    size, count = 1 << 17, 60
    # Without this the caller's end takes in megabytes that nobody has asked it for.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(gateway.address, options) as narrow:
        stream = Conversation(narrow)
        stream.send(*[rows([[n] * size]) for n in range(count)])
        stream.half_close()
        assert worker.arrived.acquire(timeout=10)
        executed, quiet = 0, 0
        while quiet < 30:
            reach(channel)
            quiet = quiet + 1 if sum(worker.batches) == executed else 0
            executed = sum(worker.batches)
        assert 0 < executed < count // 2
        assert [read(each)[0][0] for each in stream.rest()] == list(range(count))


def test_large_answers_to_small_requests_fill_the_bound_as_well(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those still to come, as large as the last: a caller that stops to read costs a few."""
    size, count = 1 << 17, 60
    monkeypatch.setattr(inference_stream, "MOST_UNANSWERED_BYTES", 4 * 4 * size)

    def widen(
        inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
    ) -> list[RawTensor]:
        (x,) = inputs
        assert x is not None
        row = [x.raw[at : at + 4] * size for at in range(0, len(x.raw), 4)]
        return [RawTensor("FP32", (len(row), size), b"".join(row))]

    worker = LinkWorker(widen)
    gateway.deploy("m", ROWS, [worker])
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(gateway.address, options) as narrow:
        stream = Conversation(narrow)
        stream.send(rows([[-1]]))
        assert read(stream.next())[0][0] == -1
        worker.go.clear()
        stream.send(*[rows([[n]]) for n in range(count)])
        stream.half_close()
        for _ in range(20):
            reach(channel)  # all that may be read is read
        worker.go.set()
        executed, quiet = 0, 0
        while quiet < 30:
            reach(channel)
            quiet = quiet + 1 if sum(worker.batches) == executed else 0
            executed = sum(worker.batches)
        assert 0 < executed < count // 2
        assert [read(each)[0][0] for each in stream.rest()] == list(range(count))


def test_a_drain_answers_what_it_owes_and_ends_streams(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The caller learns that it has to go on elsewhere; one that was through has a good end."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    idle, through, going = (Conversation(channel) for _ in range(3))
    through.send(rows([[1]]))
    through.half_close()
    assert worker.arrived.acquire(timeout=10)
    going.send(rows([[2]]), rows([[3]]))
    reach(channel)
    gateway.control.send(DrainGateway(grace=60))
    assert idle.code() is grpc.StatusCode.UNAVAILABLE
    worker.go.set()
    assert [read(each) for each in through.rest()] == [[[1]]]
    assert through.code() is grpc.StatusCode.OK
    assert [read(going.next()) for _ in range(2)] == [[[2]], [[3]]]
    assert going.code() is grpc.StatusCode.UNAVAILABLE
    gateway.join()
