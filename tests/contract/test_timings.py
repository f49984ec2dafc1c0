"""The bill of a request: what it took, told with its answer to whoever asks."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from support.calls import ROWS, begin, call, rows, values_of
from support.conversation import Conversation
from support.decoupled import ask, asked, deploy
from support.gateway import INSTANCE, GatewayUnderTest
from support.generating_worker import GeneratingWorker
from support.http import ask as ask_http
from support.link_worker import LinkWorker

TIMINGS = "inferd_timings"


def billed(payload: bytes, *, wanted: bool = True) -> bytes:
    """The request with the parameter."""
    message = ModelInferRequest.FromString(payload)
    message.parameters[TIMINGS].bool_param = wanted
    return message.SerializeToString()


def bill_of(response: ModelInferResponse) -> dict[str, Any]:
    """Its parameters, integers as such and one text."""
    bill: dict[str, Any] = {
        key: value.string_param if key == "inferd_device" else value.int64_param
        for key, value in response.parameters.items()
        if key.startswith("inferd_")
    }
    assert bill.pop("inferd_queue_us", 0) >= 0
    return bill


def test_the_answer_carries_the_bill(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """What the worker reports in microseconds, the batch's rows, worker and device; and the answer."""
    gateway.deploy("m", ROWS, [worker := LinkWorker()])
    worker.times = (11_000, 22_999, 33_000)
    outcome = call(channel, billed(rows([[1], [2], [3]])))
    assert values_of(outcome) == [[1], [2], [3]]
    bill = bill_of(outcome.response)
    assert bill.pop("inferd_instance") == INSTANCE
    assert bill == {
        "inferd_input_us": 11,
        "inferd_compute_us": 22,
        "inferd_output_us": 33,
        "inferd_batch_size": 3,
        "inferd_device": "cpu",
    }


def test_nobody_else_gets_one(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Not who says false or nothing, though it shares the batch of one who gets it."""
    gateway.deploy("m", ROWS, [worker := LinkWorker()])
    worker.go.clear()
    first = begin(channel, rows([[0]]))
    assert worker.arrived.acquire(timeout=10)
    calls = [
        begin(channel, rows([[1]])),
        begin(channel, billed(rows([[2]]), wanted=False)),
        begin(channel, billed(rows([[3], [4]]))),
    ]
    # All three wait by now: what is sent on one connection arrives in its order.
    assert call(channel, b"", "ServerLive").code is grpc.StatusCode.OK
    worker.go.set()
    assert not first.outcome().response.parameters
    outcomes = [each.outcome() for each in calls]
    assert [dict(each.response.parameters) for each in outcomes[:2]] == [{}, {}]
    assert worker.batches == [1, 4]
    assert bill_of(outcomes[2].response)["inferd_batch_size"] == 4


def test_a_request_in_parts_pays_for_all_of_them(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Their times are added up; the batch size is that of the largest part."""
    gateway.deploy("m", ROWS, [worker := LinkWorker()])
    outcome = call(channel, billed(rows([[n] for n in range(9)])))
    assert values_of(outcome) == [[n] for n in range(9)]
    bill = bill_of(outcome.response)
    messages = len(worker.messages)
    assert worker.batches == [4, 4, 1]
    assert bill["inferd_batch_size"] == 4
    # Of one message with several parts each bears its share, rounded down.
    assert messages * 2 - 2 <= bill["inferd_compute_us"] <= messages * 2


def test_it_must_be_true_or_false(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Anything else is refused by its name, as other parameters of the protocol are."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    message = ModelInferRequest.FromString(rows([[1]]))
    message.parameters[TIMINGS].int64_param = 1
    refused = call(channel, message.SerializeToString())
    assert (refused.code, refused.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "parameters[inferd_timings]",
    )
    assert refused.message == (
        "invalid value type for 'inferd_timings': got a int, expected bool_param"
    )


def test_a_failure_has_no_bill(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """It is the error that it would be; the next one has a bill again."""

    def broken(inputs: Any, parameters: object) -> Any:
        if inputs[0].raw[:4] == b"\0\0\0\0":
            raise ValueError("no zeros")
        return inputs

    gateway.deploy("m", ROWS, [LinkWorker(broken)])
    assert call(channel, billed(rows([[0]]))).reason == "MODEL_ERROR"
    assert call(channel, billed(rows([[0]], model="nobody"))).code is grpc.StatusCode.NOT_FOUND
    assert bill_of(call(channel, billed(rows([[1]]))).response)["inferd_compute_us"] == 2


def test_streams_have_bills(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Each answer of an ordinary model; of one that yields the last answer, beside its mark."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    stream = Conversation(channel)
    stream.send(billed(rows([[1]])), rows([[2]]))
    stream.half_close()
    bills = [bill_of(each.infer_response) for each in stream.rest()]
    assert bills[0]["inferd_compute_us"] == 2
    assert bills[1] == {}
    deploy(gateway, GeneratingWorker())
    told = ask(channel, asked(times=2, last=True, inferd_timings=True))
    bills = [bill_of(each.infer_response) for each in told]
    assert bills[:2] == [{}, {}]
    assert bills[2]["inferd_batch_size"] == 1
    assert told[2].infer_response.parameters["triton_final_response"].bool_param


@pytest.mark.parametrize("binary", [False, True])
def test_over_http_it_stands_among_the_parameters(binary: bool) -> None:  # noqa: FBT001  # pytest's
    """As numbers and text, whether the tensors are JSON or follow it."""
    with GatewayUnderTest(http=True) as gateway:
        gateway.deploy("m", ROWS, [LinkWorker()])
        tensor = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]}
        parameters = {TIMINGS: True, "binary_data_output": binary}
        document = ask_http(
            gateway.http, "/v2/models/m/infer", {"inputs": [tensor], "parameters": parameters}
        ).document
        bill = document["parameters"]
        assert bill.pop("inferd_queue_us") >= 0
        assert bill.pop("inferd_instance") == INSTANCE
        assert bill == {
            "inferd_input_us": 1,
            "inferd_compute_us": 2,
            "inferd_output_us": 3,
            "inferd_batch_size": 2,
            "inferd_device": "cpu",
        }
