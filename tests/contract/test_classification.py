"""Classes instead of values, to callers that ask for them."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from support.calls import ANYTHING, ROWS, begin, call, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def asked(values: list[list[float]], model: str = "m") -> triton.InferInput:
    """An input of FP32 rows."""
    array = np.array(values, np.float32)
    tensor = triton.InferInput("x", array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


def test_each_caller_of_a_batch_gets_what_it_asked_for(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Values and classes come out of the same execution."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], labels={"y": ("a", "b")})
    worker.go.clear()
    held = begin(channel, rows([[0, 0]]))
    assert worker.arrived.acquire(timeout=10)
    plain = begin(channel, rows([[1, 2]]))
    with triton.InferenceServerClient(gateway.address) as client:
        outputs = [triton.InferRequestedOutput("y", class_count=5)]
        answers: list[object] = []
        client.async_infer(
            "m", [asked([[3, 4], [6, 5]])], lambda result, error: answers.append(error or result),
            outputs=outputs, request_id="9",
        )  # fmt: skip
        for _ in range(5):
            call(channel, b"", "ServerLive")
        worker.go.set()
        held.outcome()
        assert values_of(plain.outcome()) == [[1, 2]]
        found = client.infer("m", [asked([[3, 4], [6, 5]])], outputs=outputs)
    assert found.as_numpy("y").tolist() == [
        [b"4.000000:1:b", b"3.000000:0:a"],
        [b"6.000000:0:a", b"5.000000:1:b"],
    ]
    assert worker.batches[0] == 1


def test_the_same_form_again_is_classified_again(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Known forms keep the parameter: neither do others get classes, nor does it get values."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    with triton.InferenceServerClient(gateway.address) as client:
        outputs = [triton.InferRequestedOutput("y", class_count=1)]
        for values in ([[1.0, 2.0]], [[4.0, 3.0]], [[5.0, 6.0]]):
            found = client.infer("m", [asked(values)], outputs=outputs).as_numpy("y")
            best = int(np.argmax(values))
            assert found.tolist() == [[f"{values[0][best]:f}:{best}".encode()]]
            assert values_of(call(channel, rows(values))) == values


@pytest.mark.parametrize("count", [-1, 1 << 40])
def test_counts_that_cannot_be_are_refused(gateway: GatewayUnderTest, count: int) -> None:
    """Below one, and more than an answer may hold where the shape is free."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    with triton.InferenceServerClient(gateway.address) as client:
        output = triton.InferRequestedOutput("y", class_count=count)
        with pytest.raises(InferenceServerException) as caught:
            client.infer("m", [asked([[1, 2]])], outputs=[output])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert worker.batches == []


def test_outputs_of_any_datatype_have_no_classes(gateway: GatewayUnderTest) -> None:
    """A model that does not say that its output is a number is asked for none."""
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    with triton.InferenceServerClient(gateway.address) as client:
        output = triton.InferRequestedOutput("y", class_count=1)
        with pytest.raises(InferenceServerException, match="unsupported type 'ANY'"):
            client.infer("m", [asked([[1, 2]])], outputs=[output])
