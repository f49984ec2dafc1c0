"""What an inference answers: outputs asked for, ids, parameters, versions."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from inferd.core.link.messages import ParameterValue, VersionState
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import ROWS, begin, call, request, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker, RawTensor

_N = Axis("batch", 1)

TWO_OUTPUTS = Signature(
    (TensorSpec("x", "FP32", (_N, 1)),),
    (TensorSpec("double", "FP32", (_N, 1)), TensorSpec("text", "BYTES", (_N,))),
    max_batch_size=4,
)


def double_and_text(
    inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
) -> list[RawTensor]:
    """Twice the value, and the value as text."""
    (x,) = inputs
    assert x is not None
    values = np.frombuffer(x.raw, np.float32)
    words = [f"{value:g}".encode() for value in values]
    framed = b"".join(len(word).to_bytes(4, "little") + word for word in words)
    return [
        RawTensor("FP32", x.shape, (2 * values).tobytes()),
        RawTensor("BYTES", x.shape[:1], framed),
    ]


class Echo:
    """Gives back its rows and keeps the parameters it was called with."""

    def __init__(self) -> None:
        self.seen: list[dict[str, ParameterValue] | None] = []

    def __call__(
        self, inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
    ) -> list[RawTensor]:
        """Run the model."""
        self.seen.append(parameters)
        return [each for each in inputs if each is not None]


def one(value: float, **more: object) -> bytes:
    """A request for the model of two outputs."""
    raw = np.float32(value).tobytes()
    return request("m", ("x", "FP32", (1, 1)), raw=[raw], **more).SerializeToString()  # type: ignore[arg-type]  # as given


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ([], ["double", "text"]),
        (["text"], ["text"]),
        (["text", "double"], ["text", "double"]),
    ],
)
def test_outputs_are_those_asked_for_in_that_order(
    gateway: GatewayUnderTest, channel: grpc.Channel, asked: list[str], names: list[str]
) -> None:
    """None named means all, in the signature's order."""
    gateway.deploy("m", TWO_OUTPUTS, [LinkWorker(double_and_text)])
    response = call(channel, one(3, outputs=asked)).response
    raw = {"double": np.float32(6).tobytes(), "text": b"\1\0\0\x003"}
    assert [each.name for each in response.outputs] == names
    assert list(response.raw_output_contents) == [raw[name] for name in names]


def test_callers_of_one_batch_may_ask_for_different_outputs(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """They share the execution, not the selection, nor each other's BYTES rows."""
    worker = LinkWorker(double_and_text)
    gateway.deploy("m", TWO_OUTPUTS, [worker])
    worker.go.clear()
    first = begin(channel, one(1))
    assert worker.arrived.acquire(timeout=10)
    others = [
        begin(channel, one(value, outputs=[name]))
        for value, name in [(10, "text"), (200, "double"), (3000, "text")]
    ]
    wait_until_queued(channel, len(others))
    worker.go.set()
    answers = [each.outcome().response for each in others]
    assert [list(each.raw_output_contents) for each in answers] == [
        [b"\2\0\0\x0010"],
        [np.float32(400).tobytes()],
        [b"\4\0\0\x003000"],
    ]
    assert first.outcome().code is grpc.StatusCode.OK
    assert worker.batches == [1, 3]


def wait_until_queued(channel: grpc.Channel, count: int) -> None:
    """Return when the requests sent before this are queued: calls of a channel keep their order."""
    for _ in range(count):
        call(channel, b"", "ServerLive")


def test_the_id_is_echoed_or_absent(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Each caller gets its own, also from forms that are known."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    for name in ("", "call-1", "", "call-2", "i" * 128):
        response = call(channel, rows([[1, 2]], id=name)).response
        assert (response.id, response.model_name, response.model_version) == (name, "m", "1")


def test_versions_answer_for_themselves(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Each version has its own model; the highest is the default."""
    first = gateway.deploy("m", ROWS, [LinkWorker()], version=1, publish=False)
    second = gateway.deploy(
        "m", TWO_OUTPUTS, [LinkWorker(double_and_text)], version=2, publish=False
    )
    gateway.publish("m", VersionState(1, "READY", "", first), VersionState(2, "READY", "", second))
    call(channel, b"", "ServerLive")
    assert values_of(call(channel, rows([[5]], version="1"))) == [[5]]
    assert values_of(call(channel, rows([[5]], version="2"))) == [[10]]
    response = call(channel, rows([[5]])).response
    assert response.model_version == "2"


def test_parameters_reach_a_model_that_takes_them(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """With their types; those of the protocol itself stay outside."""
    echo = Echo()
    gateway.deploy("m", ROWS, [LinkWorker(echo)], takes_parameters=True)
    message = request("m", ("x", "FP32", (1, 1)), raw=[bytes(4)])
    message.parameters["flag"].bool_param = True
    message.parameters["count"].int64_param = -(2**63)
    message.parameters["rate"].double_param = 0.5
    message.parameters["name"].string_param = "ä"
    message.parameters["timeout"].int64_param = 10_000_000
    message.parameters["priority"].uint64_param = 1
    assert call(channel, message.SerializeToString()).code is grpc.StatusCode.OK
    assert call(channel, rows([[1]])).code is grpc.StatusCode.OK
    assert echo.seen == [{"flag": True, "count": -(2**63), "rate": 0.5, "name": "ä"}, None]


@pytest.mark.parametrize(("takes", "batches"), [(True, [1, 1, 2]), (False, [1, 3])])
def test_parameters_split_batches_only_where_they_matter(
    gateway: GatewayUnderTest,
    channel: grpc.Channel,
    takes: bool,  # noqa: FBT001  # a case of the table
    batches: list[int],
) -> None:
    """Requests with the same parameters share a batch; a model without them never sees them."""
    echo = Echo()
    worker = LinkWorker(echo)
    gateway.deploy("m", ROWS, [worker], takes_parameters=takes)
    worker.go.clear()
    begun = [begin(channel, rows([[0]]))]
    assert worker.arrived.acquire(timeout=10)
    for value in (1, 2, 1):
        message = request("m", ("x", "FP32", (1, 1)), raw=[bytes(4)])
        message.parameters["k"].int64_param = value
        begun.append(begin(channel, message.SerializeToString()))
        call(channel, b"", "ServerLive")
    worker.go.set()
    assert [each.outcome().code.name for each in begun] == ["OK"] * 4
    assert sorted(worker.batches) == batches
    assert sorted(map(str, echo.seen)) == sorted(
        ["None", "{'k': 1}", "{'k': 2}"] if takes else ["None", "None"]
    )


def test_a_request_larger_than_a_batch_is_split_and_joined(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Ten rows through a model that takes four at a time."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    values = [[float(n), -float(n)] for n in range(10)]
    assert values_of(call(channel, rows(values))) == values
    assert worker.batches == [4, 4, 2]
