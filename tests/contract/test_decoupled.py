"""Models that yield: each request answered many times or never, on ModelStreamInfer alone."""

from __future__ import annotations

import grpc
import pytest

from inferd.protos.oip_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
)
from support.calls import ANYTHING, ROWS, call, rows
from support.conversation import Conversation, reach, read
from support.decoupled import TRUE_ERRORS, ask, asked, deploy, finals
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker
from support.link_worker import LinkWorker


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
