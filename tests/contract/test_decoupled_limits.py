"""Generators and their bounds: time, memory, readers, workers that die, a server that stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import grpc
import pytest

from inferd.core.link.messages import (
    DrainGateway,
    ParameterValue,
    ResponseCounts,
    Spent,
    VersionCounts,
)
from inferd.protos.oip_pb2 import (
    InferResponseStatistics,
    ModelStatistics,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
)
from inferd.server.gateway.rpc.services import inference_stream
from support.calls import ROWS, begin, call, rows, values_of
from support.conversation import Conversation, reach, read
from support.decoupled import ask, asked, deploy, finals
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker, Yields
from support.link_worker import LinkWorker, RawTensor


def test_a_request_that_lasts_too_long_is_ended(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]],
) -> None:
    """By the operator's bound, with an error in band; its generator is closed."""
    gateway, channel = start(max_request_time=0.3)
    worker = GeneratingWorker()
    deploy(gateway, worker)
    stream = Conversation(channel)
    stream.send(asked("a", times=10**7))
    answer = stream.next()
    while not answer.error_message:
        answer = stream.next()
    assert "Request timeout expired" in answer.error_message
    assert answer.infer_response.id == "a"
    assert worker.closed.get(timeout=10) == 1
    stream.half_close()
    assert stream.rest() == []


def test_a_caller_that_does_not_read_holds_its_generator(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """It is advanced a few steps and no more; others are served; then all of it comes."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    size, times = 1 << 16, 200
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(gateway.address, options) as narrow:
        stream = Conversation(narrow)
        stream.send(asked("a", size=size, times=times))
        stream.half_close()
        assert worker.stepped.acquire(timeout=10)
        taken, quiet = 0, 0
        while quiet < 30:
            reach(channel)
            quiet = quiet + 1 if worker.advanced == taken else 0
            taken = worker.advanced
        assert 0 < taken < times // 2
        assert len(ask(channel, asked("b", times=20))) == 20
        assert len(stream.rest()) == times
        assert stream.code() is grpc.StatusCode.OK


def test_answers_may_grow(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Each larger than all before: the room follows, and is given back."""

    def growing(x: RawTensor, parameters: dict[str, ParameterValue]) -> Yields:
        for exponent in range(1, 18):
            yield [RawTensor("FP32", (1, 2**exponent), x.raw * 2**exponent)]
        return None

    deploy(gateway, GeneratingWorker(growing))
    for _ in range(3):
        answers = ask(channel, asked())
        assert [len(read(each)[0]) for each in answers] == [2**n for n in range(1, 18)]


def test_answers_too_large_for_the_memory_end_in_an_error(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]],
) -> None:
    """The caller learns why, the generator is closed and the next request is served."""

    def growing(x: RawTensor, parameters: dict[str, ParameterValue]) -> Yields:
        yield [x]
        if parameters.get("last"):
            yield [RawTensor("FP32", (1 << 20,), x.raw * (1 << 20))]
        return None

    gateway, channel = start(max_arena_bytes=1 << 21)
    worker = GeneratingWorker(growing)
    deploy(gateway, worker)
    fine, failed = ask(channel, asked("a", last=True))
    assert read(fine) == [[7.0]]
    assert "max_arena_bytes" in failed.error_message
    assert worker.closed.get(timeout=10) == 1
    assert [read(each) for each in ask(channel, asked())] == [[[7.0]]]


def test_a_lost_worker_fails_its_streams_in_band(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Those that run and those that wait; the streams stay open."""
    worker = GeneratingWorker()
    deploy(gateway, worker, max_streams=1)
    stream = Conversation(channel)
    stream.send(asked("a", times=10**6), asked("b"))
    assert stream.next().infer_response.id == "a"
    reach(channel)
    worker.die()
    lost: dict[str, str] = {}
    while len(lost) < 2:
        answer = stream.next()
        if answer.error_message:
            lost[answer.infer_response.id] = answer.error_message
    assert all("was lost" in lost[each] for each in ("a", "b"))
    stream.half_close()
    assert stream.rest() == []
    assert stream.code() is grpc.StatusCode.OK


def test_a_drain_waits_for_generators_under_way(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """They are answers that are owed; then the stream ends with UNAVAILABLE."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    worker.go.clear()
    stream = Conversation(channel)
    stream.send(asked("a", times=3, last=True))
    assert worker.arrived.acquire(timeout=10)
    gateway.control.send(DrainGateway(grace=60))
    worker.go.set()
    assert finals([stream.next() for _ in range(4)]) == [False] * 3 + [True]
    assert stream.code() is grpc.StatusCode.UNAVAILABLE
    gateway.join()


def test_no_more_than_max_streams_run_side_by_side(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Others wait in the queue until one has ended."""
    most = 0

    def watched(x: RawTensor, parameters: dict[str, ParameterValue]) -> Yields:
        nonlocal most
        for _ in range(5):
            most = max(most, worker.running)
            yield [x]
        return None

    worker = GeneratingWorker(watched)
    deploy(gateway, worker, max_streams=3)
    answers = ask(channel, *[asked(str(n)) for n in range(12)])
    assert len(answers) == 12 * 5
    assert most == 3


def test_requests_are_counted_once_however_often_they_are_answered(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A success or a failure each; a generator that was closed was executed, no more."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    ask(channel, asked(times=5), asked(times=0), asked(times=2, last=True), asked(fail=True))
    stream = Conversation(channel)
    stream.send(asked(times=10**6))
    stream.next()
    stream.leave()
    worker.closed.get(timeout=10)
    counted = partial(_counts, channel)
    while counted()[2] < 4:  # the worker's word is on its way
        reach(channel)
    assert counted() == (3, 1, 4)


def test_answers_are_counted_by_index_as_soon_as_they_are_there(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Over all gateways, with empty ends, failures and callers that left in the place of the next."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    ask(channel, asked(times=2), asked(times=1, last=True))
    found = _responses(channel)
    assert {key: each.success.count for key, each in found.items()} == {"0": 2, "1": 2, "2": 0}
    assert (found["0"].compute_infer.ns, found["0"].compute_output.ns) == (2 * 10, 2 * 1)
    assert found["0"].success.ns == 2 * 11
    assert found["2"].empty_response.count == found["2"].compute_infer.count == 1
    ask(channel, asked(times=1, fail=True))
    assert _responses(channel)["1"].fail.count == 1
    stream = Conversation(channel)
    stream.send(asked(times=10**6))
    stream.next()
    stream.leave()
    while not any(each.cancel.count for each in _responses(channel).values()):
        reach(channel)
    spent = Spent(5, 50)
    counts = ResponseCounts(spent, spent, spent)
    gateway.other_counts = (VersionCounts("g", 1, responses=(counts,) * 2),)
    assert _responses(channel)["0"].success.count == 5 + 4


def _responses(channel: grpc.Channel) -> Mapping[str, InferResponseStatistics]:
    """What is counted of answers of the model `g`, by index."""
    return _statistics(channel).response_stats


def _counts(channel: grpc.Channel) -> tuple[int, int, int]:
    """Successes, failures and executions of the model `g`."""
    found = _statistics(channel)
    stats = found.inference_stats
    assert found.inference_count == found.execution_count
    return stats.success.count, stats.fail.count, found.execution_count


def _statistics(channel: grpc.Channel) -> ModelStatistics:
    asked_for = ModelStatisticsRequest(name="g").SerializeToString()
    answer = ModelStatisticsResponse.FromString(call(channel, asked_for, "ModelStatistics").payload)
    (found,) = answer.model_stats
    return found


def test_unary_calls_go_on_beside_streams(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Of another model, while generators run."""
    deploy(gateway, GeneratingWorker())
    gateway.deploy("m", ROWS, [LinkWorker()])
    stream = Conversation(channel)
    stream.send(asked(times=10**6))
    stream.next()
    assert [values_of(begin(channel, rows([[n]])).outcome()) for n in range(20)] == [
        [[n]] for n in range(20)
    ]
    stream.leave()


def test_what_a_generator_may_have_on_its_way_is_bounded_in_bytes(
    gateway: GatewayUnderTest, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests of one stream share the bound; nothing is lost by it."""
    monkeypatch.setattr(inference_stream, "MOST_UNANSWERED_BYTES", 1 << 12)
    deploy(gateway, GeneratingWorker())
    answers = ask(channel, *[asked(str(n), size=300, times=20) for n in range(8)])
    got = [each.infer_response.id for each in answers]
    assert all(got.count(str(n)) == 20 for n in range(8))
