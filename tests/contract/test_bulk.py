"""Bulk streams: chunks, answers in place, parts, resuming, and bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from inferd.core.link.messages import DrainGateway
from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.protos.v1.bulk_pb2 import ORDER_OF_ENDING, BulkRequest, Chunk, Open, Part
from inferd.server.gateway.rpc.services.bulk import service, stream
from inferd.server.gateway.rpc.services.bulk.large import LargeChunks
from support.bulk import BulkConversation, rows_of, values
from support.calls import ROWS, begin, call, rows, values_of
from support.conversation import reach
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def test_chunks_are_answered_in_their_order_with_their_credit(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A chunk of more rows than a batch has one answer; its request may leave the model out."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    bulk = BulkConversation(channel, timeout=None)  # as jobs are: nothing else bounds them
    opened = bulk.opened()
    assert (opened.model_version, opened.credit.chunks) == ("1", stream.MOST_CHUNKS)
    requests = [rows([[n, at] for at in range(11)], model="m" * (n % 2)) for n in range(9)]
    for n, request in enumerate(requests):
        bulk.send(n, request)
    bulk.half_close()
    answers = bulk.rest()
    assert [each.sequence for each in answers] == list(range(9))
    assert [values(each) for each in answers] == [[[n, at] for at in range(11)] for n in range(9)]
    assert [(each.credit.chunks, each.credit.bytes) for each in answers] == [
        (1, len(request)) for request in requests
    ]
    assert bulk.code() is grpc.StatusCode.OK


def test_an_error_stands_in_its_place_and_the_stream_goes_on(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """It names code, reason and field; so does a chunk for another model than the job's."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.deploy("n", ROWS, [LinkWorker()])
    bulk = BulkConversation(channel)
    bulk.opened()
    bulk.send(0, rows([[1]]))
    bulk.send(1, rows([1]))
    bulk.send(2, rows([[2]], model="n"))
    bulk.send(3, rows([[3]]))
    bulk.half_close()
    first, misshapen, other, last = bulk.rest()
    assert (values(first), values(last)) == ([[1]], [[3]])
    assert (misshapen.error.code, misshapen.error.field) == (3, "inputs[0].shape")
    assert (other.error.reason, other.credit.chunks) == ("OTHER_JOB", 1)


def test_answers_may_leave_as_they_come(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """A chunk that fails at once does not wait for the one that is being executed."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    bulk = BulkConversation(channel, Open(model_name="m", order=ORDER_OF_ENDING))
    bulk.opened()
    bulk.send(0, rows([[1]]))
    bulk.send(1, rows([1]))
    assert bulk.next().sequence == 1
    worker.go.set()
    assert bulk.next().sequence == 0
    bulk.leave()


def test_what_is_larger_than_a_message_goes_in_parts(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of three messages' size comes in parts, and so does its answer."""
    gateway, channel = start(max_message_bytes=1 << 20)
    monkeypatch.setattr(stream, "PART_BYTES", 100_000)
    gateway.deploy("m", ROWS, [LinkWorker()])
    given = np.arange(9 * 80_000, dtype=np.float32).reshape(9, 80_000)
    request = rows(given)
    assert len(request) > 2 << 20
    bulk = BulkConversation(channel)
    assert bulk.opened().request_bytes == 4 << 20
    bulk.send(0, rows([[0]]))
    bulk.send_parts(1, request, 700_000)
    bulk.send(2, rows([[2]]))
    bulk.half_close()
    first, *parts, last = bulk.rest()
    assert (values(first), values(last)) == ([[0]], [[2]])
    assert len(parts) == -(-len(request) // 100_000)
    assert [each.part.last for each in parts] == [False] * (len(parts) - 1) + [True]
    assert {each.sequence for each in parts} == {1}
    whole = ModelInferResponse.FromString(b"".join([each.part.data for each in parts]))
    assert np.array_equal(rows_of(whole), given)
    assert parts[-1].credit.bytes == len(request)


@pytest.mark.parametrize("ends", ["answered", "left", "refused"])
def test_large_chunks_wait_for_each_other(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]],
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
) -> None:
    """Beyond its credit a chunk is read on when it has a place, until it is answered or its caller left.

    Whoever waits is not read from; chunks within their credit pass.
    """
    monkeypatch.setattr(stream, "MOST_BYTES", 100_000)
    monkeypatch.setattr(service, "MOST_LARGE", 1)
    asked, enter = threading.Semaphore(0), LargeChunks.enter

    def ask_for_a_place(places: LargeChunks, who: object, go_on: Callable[[], None]) -> bool:
        entered = enter(places, who, go_on)
        asked.release()
        return entered

    monkeypatch.setattr(LargeChunks, "enter", ask_for_a_place)
    gateway, channel = start(max_message_bytes=1 << 20)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    large = rows(np.zeros((3, 20_000), np.float32))
    size = 50_000
    first, second, third = (BulkConversation(channel) for _ in range(3))
    for each in (first, second, third):
        each.opened()
    first.send_parts(0, large[: 3 * size], size, last=False)
    assert asked.acquire(timeout=10)
    for each in (second, third):
        each.send_parts(0, large, size)
        assert asked.acquire(timeout=10)
    for _ in range(5):
        reach(channel)
    small = BulkConversation(channel)
    small.send(0, rows([[1]]))
    assert small.opened().credit.bytes == 100_000
    assert values(small.next()) == [[1]]
    assert worker.batches == [1]
    if ends == "answered":
        first.send_parts(0, large[3 * size :], size)
        assert len(values(first.next())) == 3
    elif ends == "left":
        first.leave()
    else:
        first.send(1, rows([[1]]))
        assert first.code() is grpc.StatusCode.INVALID_ARGUMENT
    for each in (second, third):
        assert len(values(each.next())) == 3
        each.send_parts(1, large, size)
        assert len(values(each.next())) == 3
    assert worker.batches == [1, *[3] * (5 if ends == "answered" else 4)]
    for each in (first, second, third, small):
        each.leave()


def test_a_job_goes_on_with_its_token(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """With the version that it began with, from its position; another job's token is refused."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    begun = BulkConversation(channel)
    token = begun.opened().resume_token
    begun.leave()
    again = BulkConversation(channel, Open(model_name="m", resume_token=token, position=5))
    assert again.opened().resume_token == token
    again.send(5, rows([[5]]))
    assert again.next().sequence == 5
    again.send(4, rows([[4]]))
    assert again.code() is grpc.StatusCode.INVALID_ARGUMENT
    gateway.deploy("n", ROWS, [LinkWorker()])
    for wrong in (
        Open(model_name="n", resume_token=token),
        Open(model_name="m", model_version="2", resume_token=token),
        Open(model_name="m", resume_token="token"),
        Open(model_name="m", position=3),
        Open(model_name="absent"),
    ):
        code = BulkConversation(channel, wrong).code()
        assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), wrong


def test_a_model_that_yields_is_refused(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """When the stream is opened: a chunk has one answer."""
    gateway.deploy("m", ROWS, [LinkWorker()], decoupled=True)
    assert BulkConversation(channel).code() is grpc.StatusCode.UNIMPLEMENTED


def test_messages_out_of_turn_end_the_stream(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A second opening, a chunk first, a chunk twice, one amid another's parts, a torn one."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    opening = BulkRequest(open=Open(model_name="m"))
    twice = BulkConversation(channel)
    twice.put(opening)
    amid = BulkConversation(channel)
    torn = BulkConversation(channel)
    torn.put(BulkRequest(chunk=Chunk(sequence=1, part=Part(data=b"x"))))
    torn.half_close()
    double = BulkConversation(channel)
    worker.go.clear()
    double.send(0, rows([[1]]))
    double.send(0, rows([[1]]))
    amid.put(BulkRequest(chunk=Chunk(sequence=1, part=Part(data=b"x"))))
    amid.send(2, rows([[1]]))
    reach(channel)
    worker.go.set()
    for each in (twice, amid, torn, double):
        assert each.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "Exception" not in (each.call.details() or "")


def test_a_stream_is_read_no_further_than_its_credit(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ignores it is not read from; whoever reads at last finds all answers there."""
    monkeypatch.setattr(stream, "MOST_CHUNKS", 4)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    bulk = BulkConversation(channel)
    bulk.opened()
    for n in range(20):
        bulk.send(n, rows([[n]] * 4))
    bulk.half_close()
    for _ in range(5):
        reach(channel)
    kept = begin(channel, rows([[9]]))
    reach(channel)  # what was sent before it has been read
    worker.go.set()
    assert values_of(kept.outcome()) == [[9]]
    # One batch was under way, and beside it at most one lies ready: the unary call came next.
    assert worker.messages.index(1) <= 3
    assert [each.sequence for each in bulk.rest()] == list(range(20))


def test_a_caller_that_leaves_is_forgotten(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """What waits of its job is not executed."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    bulk = BulkConversation(channel)
    for n in range(12):
        bulk.send(n, rows([[n]] * 4))
    assert worker.arrived.acquire(timeout=10)
    reach(channel)
    kept = begin(channel, rows([[9]]))
    reach(channel)
    bulk.leave()
    reach(channel)
    worker.go.set()
    assert values_of(kept.outcome()) == [[9]]
    assert values_of(call(channel, rows([[8]]))) == [[8]]
    assert len(worker.batches) <= 4


def test_there_are_so_many_streams_and_a_drain_ends_them(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is told to come again; a drain answers what it owes."""
    monkeypatch.setattr(service, "MOST_STREAMS", 2)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    going, idle = BulkConversation(channel), BulkConversation(channel)
    going.opened()
    idle.opened()
    third = BulkConversation(channel)
    assert third.code() is grpc.StatusCode.UNAVAILABLE
    going.send(0, rows([[1]]))
    assert worker.arrived.acquire(timeout=10)
    gateway.control.send(DrainGateway(grace=60))
    assert idle.code() is grpc.StatusCode.UNAVAILABLE
    worker.go.set()
    assert values(going.next()) == [[1]]
    assert going.code() is grpc.StatusCode.UNAVAILABLE
    gateway.join()


def test_a_lost_worker_is_told_chunk_by_chunk(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The stream goes on: the same chunk may be sent again on it."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    bulk = BulkConversation(channel)
    bulk.send(0, rows([[1]]))
    bulk.opened()
    assert worker.arrived.acquire(timeout=10)
    worker.die()
    lost = bulk.next()
    assert (lost.error.reason, lost.error.code, lost.error.retry_after) == ("WORKER_LOST", 14, 1.0)
    gateway.deploy("m", ROWS, [LinkWorker()])
    bulk.send(0, rows([[1]]))
    assert values(bulk.next()) == [[1]]
    bulk.leave()
