"""The same request over gRPC and over HTTP: the same outcome, message and reason."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from inferd.core.link.messages import VersionState
from inferd.protos.oip_pb2 import InferParameter, ModelInferRequest
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import call, request
from support.gateway import GatewayUnderTest
from support.http import as_http, ask
from support.link_worker import LinkWorker, RawTensor

_N = Axis("batch", 1)

_MODEL = Signature(
    (
        TensorSpec("x", "FP32", (_N, 2)),
        TensorSpec("i", "INT8", (_N,), optional=True),
        TensorSpec("b", "BOOL", (_N,), optional=True),
        TensorSpec("s", "BYTES", (_N,), optional=True),
        TensorSpec("z", "FP32", (_N, Axis("free")), optional=True),
    ),
    (TensorSpec("y", "FP32", (_N, 2)),),
    max_batch_size=4,
)

HTTP = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def raises(inputs: list[RawTensor | None], _: object) -> list[RawTensor]:
    """A model that fails."""
    raise ValueError("weights are missing")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[GatewayUnderTest, grpc.Channel]]:
    """A gateway with the model `m`, one that fails, and models that are not ready."""
    with GatewayUnderTest(http=True, max_message_bytes=1 << 20) as gateway:
        gateway.deploy("m", _MODEL, [LinkWorker(lambda inputs, _: [i for i in inputs[:1] if i])])
        gateway.deploy("fails", _MODEL, [LinkWorker(raises)])
        gateway.publish("loading", VersionState(1, "LOADING", "", None))
        gateway.publish("broken", VersionState(1, "UNAVAILABLE", "no such file", None))
        gateway.deploy("restarting", _MODEL, [])
        with grpc.insecure_channel(gateway.address) as channel:
            yield gateway, channel


def good(model: str = "m", **more: str) -> ModelInferRequest:
    """A request that is served as it is."""
    return request(model, ("x", "FP32", (1, 2)), raw=[bytes(8)], **more)


def heads(*inputs: tuple[str, str, tuple[int, ...]], raw: list[bytes]) -> ModelInferRequest:
    """A request with these inputs."""
    return request("m", *inputs, raw=raw)


def beside(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> ModelInferRequest:
    """The good request with one more input."""
    return heads(("x", "FP32", (1, 2)), (name, datatype, shape), raw=[bytes(8), raw])


def asking(*outputs: str) -> ModelInferRequest:
    """The good request for these outputs."""
    return request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)], outputs=outputs)


def with_parameter(key: str, where: str = "", **value: object) -> ModelInferRequest:
    """The good request with a parameter of its own, of its input or of its output."""
    message = asking("y")
    holder = getattr(message, where)[0] if where else message
    holder.parameters[key].CopyFrom(InferParameter(**value))  # type: ignore[arg-type]  # as given
    return message


CASES: dict[str, ModelInferRequest] = {
    "good": good(),
    "good with an id": good(id="a b"),
    "unknown model": good("n"),
    "near to a model's name": good("fail"),
    "unknown version": good(version="7"),
    "version abc": good(version="abc"),
    "version 0": good(version="0"),
    "version of 30 digits": good(version="1" * 30),
    "loading": good("loading"),
    "failed to load": good("broken"),
    "restarting": good("restarting"),
    "a name of 200 characters": good("m" * 200),
    "the model fails": good("fails"),
    "a required input is missing": heads(("i", "INT8", (1,)), raw=[b"1"]),
    "undeclared input": beside("q", "INT8", (1,), b"1"),
    "duplicate input": beside("x", "FP32", (1, 2), bytes(8)),
    "no datatype": heads(("x", "", (1, 2)), raw=[bytes(8)]),
    "FLOAT": heads(("x", "FLOAT", (1, 2)), raw=[bytes(8)]),
    "another datatype": heads(("x", "INT32", (1, 2)), raw=[bytes(8)]),
    "no shape": heads(("x", "FP32", ()), raw=[bytes(8)]),
    "another rank": heads(("x", "FP32", (2,)), raw=[bytes(8)]),
    "a shape of 40 dimensions": heads(("x", "FP32", (1,) * 40), raw=[bytes(8)]),
    "another fixed dimension": heads(("x", "FP32", (1, 3)), raw=[bytes(12)]),
    "-1": heads(("x", "FP32", (-1, 2)), raw=[bytes(8)]),
    "2^62 x 4": beside("z", "FP32", (2**62, 4), b""),
    "above the message limit": beside("z", "FP32", (1, 2**20), b""),
    "different batches": beside("i", "INT8", (2,), b"12"),
    "one byte less": heads(("x", "FP32", (1, 2)), raw=[bytes(7)]),
    "one byte more": heads(("x", "FP32", (1, 2)), raw=[bytes(9)]),
    "no bytes": heads(("x", "FP32", (1, 2)), raw=[b""]),
    "BOOL 2": beside("b", "BOOL", (1,), b"\2"),
    "BYTES beyond the end": beside("s", "BYTES", (1,), b"\xff\xff\xff\xffa"),
    "300 inputs": heads(*[("x", "FP32", (1, 2))] * 300, raw=[bytes(8)] * 300),
    "unknown output": asking("q"),
    "output twice": asking("y", "y"),
    "wrong type": with_parameter("sequence_start", string_param="x"),
    "a megabyte of parameter": with_parameter("k", string_param="x" * 900_000),
    "triton_": with_parameter("triton_k", bool_param=True),
    "negative timeout": with_parameter("timeout", int64_param=-1),
    "shared memory": with_parameter("shared_memory_region", "inputs", string_param="r"),
    "shared memory out": with_parameter("shared_memory_region", "outputs", string_param="r"),
    "long id": good(id="i" * 1000),
    "newline in the id": good(id="a\nb"),
}


@pytest.mark.parametrize("case", CASES)
def test_both_doors_say_the_same(served: tuple[GatewayUnderTest, grpc.Channel], case: str) -> None:
    """Status by one table, reason and message word for word."""
    gateway, channel = served
    message = CASES[case]
    expected = call(channel, message.SerializeToString())
    path, body, headers = as_http(message)
    outcome = ask(gateway.http, path, body, headers)
    assert outcome.status == HTTP[expected.code.name], (expected, outcome)
    if outcome.status == 200:
        response = expected.response
        assert outcome.behind == b"".join(response.raw_output_contents)
        assert outcome.document.get("id", "") == response.id
        return
    assert outcome.document["reason"] == expected.reason
    assert outcome.document["error"] == expected.message
    assert outcome.document.get("field", "") == expected.field
    wait = expected.retry_after
    assert outcome.headers.get("retry-after") == (None if wait is None else str(max(1, int(wait))))
