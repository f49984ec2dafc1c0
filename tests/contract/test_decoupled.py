"""Models that yield: each request answered many times or never, on ModelStreamInfer alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc
import pytest

from inferd.core.link.messages import DrainGateway, ParameterValue
from inferd.protos.oip_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
    ModelInferRequest,
    ModelStreamInferResponse,
)
from inferd.server.gateway.rpc.services import inference_stream
from support.calls import ANYTHING, ROWS, begin, call, rows, values_of
from support.conversation import Conversation, reach, read
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker, Yields
from support.link_worker import LinkWorker, RawTensor

TRUE_ERRORS = (("triton_grpc_error", "true"),)


def asked(id: str = "", *, model: str = "g", size: int = 1, **parameters: ParameterValue) -> bytes:  # noqa: A002  # the protocol's word
    """A request of one FP32 tensor, with parameters."""
    message = ModelInferRequest.FromString(rows([[7.0] * size], model=model, id=id))
    for key, value in parameters.items():
        if isinstance(value, bool):
            message.parameters[key].bool_param = value
        elif isinstance(value, int):
            message.parameters[key].int64_param = value
    return message.SerializeToString()


def finals(answers: list[ModelStreamInferResponse]) -> list[bool | None]:
    """What each answer says of being the last one; None where it says nothing."""
    return [
        each.infer_response.parameters["triton_final_response"].bool_param
        if "triton_final_response" in each.infer_response.parameters
        else None
        for each in answers
    ]


def deploy(gateway: GatewayUnderTest, worker: LinkWorker, **settings: int) -> None:
    """Serve `worker` as the model `g`, which yields."""
    gateway.deploy("g", ANYTHING, [worker], decoupled=True, takes_parameters=True, **settings)  # type: ignore[arg-type]  # as given


def ask(channel: grpc.Channel, *payloads: bytes) -> list[ModelStreamInferResponse]:
    """The answers to these requests on a stream that ends well."""
    stream = Conversation(channel)
    stream.send(*payloads)
    stream.half_close()
    answers = stream.rest()
    assert stream.code() is grpc.StatusCode.OK
    return answers


def test_each_answer_goes_out_as_it_is_yielded(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """With the request's id; the first one is there while the generator has not gone on."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    worker.go.clear()
    stream = Conversation(channel)
    stream.send(asked("a", times=2, last=True))
    assert worker.arrived.acquire(timeout=10)
    worker.go.set()
    answers = [stream.next() for _ in range(3)]
    assert [each.infer_response.id for each in answers] == ["a"] * 3
    assert [read(each) for each in answers] == [[[7.0]]] * 3
    assert finals(answers) == [False, False, True]
    stream.half_close()
    assert stream.rest() == []
    assert stream.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("times", [0, 1, 3])
def test_an_end_without_an_answer_is_told_if_asked_for(
    gateway: GatewayUnderTest, channel: grpc.Channel, times: int
) -> None:
    """By an answer without outputs, as Triton does; else the last yielded one was simply the last."""
    deploy(gateway, GeneratingWorker())
    told = ask(channel, asked("a", times=times, triton_enable_empty_final_response=True))
    assert finals(told) == [False] * times + [True]
    assert not told[-1].infer_response.outputs
    assert (told[-1].infer_response.id, told[-1].infer_response.model_name) == ("a", "g")
    assert finals(ask(channel, asked("a", times=times))) == [False] * times
    # Of one that returns its last answer there is nothing more to tell.
    marked = ask(channel, asked(times=times, last=True, triton_enable_empty_final_response=True))
    assert finals(marked) == [False] * times + [True]


def test_a_unary_call_is_refused_in_tritons_words(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Its configuration tells beforehand; an ordinary model's says the contrary."""
    deploy(gateway, GeneratingWorker())
    gateway.deploy("m", ROWS, [LinkWorker()])
    for _ in range(2):  # also when the request has been seen before
        refused = call(channel, rows([[1]], model="g"))
        assert refused.code is grpc.StatusCode.UNIMPLEMENTED
        assert (
            refused.message
            == "ModelInfer RPC doesn't support models with decoupled transaction policy"
        )
    for model, decoupled in (("g", True), ("m", False)):
        asked_for = ModelConfigRequest(name=model).SerializeToString()
        answer = ModelConfigResponse.FromString(call(channel, asked_for, "ModelConfig").payload)
        assert answer.config.model_transaction_policy.decoupled is decoupled


def test_a_generator_that_raises_ends_with_an_error_in_band(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """After the answers so far, with the request's id; the stream goes on."""
    deploy(gateway, GeneratingWorker())
    first, second, failed, other = ask(
        channel, asked("a", times=2, fail=True), asked("b", times=1)
    )  # the worker of this test finishes one request after another
    if other.error_message:  # answers of different requests come in any order
        failed, other = other, failed
    assert [first.infer_response.id, failed.infer_response.id] == ["a", "a"]
    assert read(first) == [[7.0]]
    assert "no such luck" in failed.error_message
    assert finals([failed]) == [True]
    assert {second.infer_response.id, other.infer_response.id} == {"a", "b"}
    refused, fine = ask(channel, asked("x", model="unknown"), asked("y"))
    assert ("unknown" in refused.error_message, refused.infer_response.id) == (True, "x")
    assert read(fine) == [[7.0]]


def test_requests_overtake_each_other_and_ordinary_ones_do_not(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A slow generator holds up nobody; answers of an ordinary model keep their order beside it."""
    slow, quick, ordinary = GeneratingWorker(), GeneratingWorker(), LinkWorker()
    deploy(gateway, slow)
    gateway.deploy("q", ANYTHING, [quick], decoupled=True, takes_parameters=True)
    gateway.deploy("m", ROWS, [ordinary])
    slow.go.clear()
    ordinary.go.clear()
    stream = Conversation(channel)
    stream.send(asked("slow"), rows([[1]], id="1"), asked("q", model="q"), rows([[2]], id="2"))
    assert stream.next().infer_response.id == "q"
    ordinary.go.set()
    assert [stream.next().infer_response.id for _ in range(2)] == ["1", "2"]
    slow.go.set()
    assert stream.next().infer_response.id == "slow"
    stream.half_close()
    assert stream.rest() == []


def test_a_caller_that_leaves_closes_its_generators(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Those that run and those that wait; another stream's goes on."""
    worker = GeneratingWorker()
    deploy(gateway, worker, max_streams=2)
    leaver, stayer = Conversation(channel), Conversation(channel)
    leaver.send(asked("a", times=10**6), asked("b", times=10**6))
    assert worker.arrived.acquire(timeout=10)
    assert worker.arrived.acquire(timeout=10)
    leaver.send(asked("c", times=10**6))
    reach(channel)
    leaver.leave()
    assert {worker.closed.get(timeout=10) for _ in range(2)} == {1, 2}
    stayer.send(asked("d", times=3))
    assert [stayer.next().infer_response.id for _ in range(3)] == ["d"] * 3
    stayer.half_close()
    assert stayer.rest() == []
    assert len(worker.batches) == 3  # the third of the leaver was never started
    assert worker.running == 0


def test_true_errors_end_the_stream(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """With metadata triton_grpc_error: true; what else is under way is given up."""
    worker = GeneratingWorker()
    deploy(gateway, worker)
    stream = Conversation(channel, metadata=TRUE_ERRORS)
    stream.send(asked("a", times=10**6))
    assert stream.next().infer_response.id == "a"
    stream.send(asked("b", times=1, fail=True))
    assert stream.code() is grpc.StatusCode.INTERNAL
    assert "no such luck" in (stream.call.details() or "")
    assert worker.closed.get(timeout=10) == 1


def test_true_errors_of_ordinary_models_come_in_their_turn(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The answers before are sent, those after are not."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    stream = Conversation(channel, metadata=TRUE_ERRORS)
    stream.send(rows([[1]]), rows([[2]], model="unknown"), rows([[3]]))
    reach(channel)
    worker.go.set()
    assert read(stream.next()) == [[1.0]]
    assert stream.code() is grpc.StatusCode.NOT_FOUND


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
        taken, quiet = 0, 0
        while quiet < 30:
            reach(channel)
            quiet = quiet + 1 if worker.steps == taken else 0
            taken = worker.steps
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


def _counts(channel: grpc.Channel) -> tuple[int, int, int]:
    """Successes, failures and executions of the model `g`."""
    from inferd.protos.oip_pb2 import ModelStatisticsRequest, ModelStatisticsResponse

    asked_for = ModelStatisticsRequest(name="g").SerializeToString()
    answer = ModelStatisticsResponse.FromString(call(channel, asked_for, "ModelStatistics").payload)
    (found,) = answer.model_stats
    stats = found.inference_stats
    assert found.inference_count == found.execution_count
    return stats.success.count, stats.fail.count, found.execution_count


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
