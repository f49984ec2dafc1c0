"""The catalogue of malformed requests: each has its code and reason, and none reaches a worker."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from inferd.core.link.messages import DoorChoice, VersionState
from inferd.protos.oip_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import call, request, rows
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

_N = Axis("batch", 1)

_MODEL = Signature(
    (
        TensorSpec("x", "FP32", (_N, 2)),
        TensorSpec("i", "INT8", (_N,), optional=True),
        TensorSpec("b", "BOOL", (_N,), optional=True),
        TensorSpec("h", "FP16", (_N,), optional=True),
        TensorSpec("s", "BYTES", (_N,), optional=True),
        TensorSpec("z", "FP32", (_N, Axis("free")), optional=True),
    ),
    (TensorSpec("y", "FP32", (_N, 2)),),
    max_batch_size=4,
)


@pytest.fixture(scope="module")
def served(door: DoorChoice) -> Iterator[tuple[grpc.Channel, LinkWorker]]:
    """A gateway with the model `m`, and models in every state that is not ready."""
    with GatewayUnderTest(max_message_bytes=1 << 20, door=door) as gateway:
        worker = LinkWorker(lambda inputs, _: [each for each in inputs[:1] if each])
        gateway.deploy("m", _MODEL, [worker])
        gateway.publish("loading", VersionState(1, "LOADING", "", None))
        gateway.publish("broken", VersionState(1, "UNAVAILABLE", "no such file", None))
        gateway.deploy("restarting", _MODEL, [])
        with grpc.insecure_channel(gateway.address) as channel:
            yield channel, worker


def good() -> ModelInferRequest:
    """A request that is served as it is."""
    return request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)])


def changed(**fields: object) -> bytes:
    """The good request with other fields."""
    return ModelInferRequest(
        **{"model_name": "m", "inputs": good().inputs, "raw_input_contents": [bytes(8)], **fields}  # type: ignore[arg-type]  # as given
    ).SerializeToString()


def heads(*inputs: tuple[str, str, tuple[int, ...]], raw: list[bytes] | None = None) -> bytes:
    """A request with these inputs."""
    return request("m", *inputs, raw=raw or []).SerializeToString()


def beside(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> bytes:
    """The good request with one more input."""
    return heads(("x", "FP32", (1, 2)), (name, datatype, shape), raw=[bytes(8), raw])


def typed(datatype: str, **contents: object) -> bytes:
    """One typed row of `i` or `h`, beside a good typed `x`."""
    message = request(
        "m", ("x", "FP32", (1, 2)), ("i" if "INT" in datatype else "h", datatype, (1,))
    )
    message.inputs[0].contents.fp32_contents.extend([0, 0])
    message.inputs[1].contents.CopyFrom(InferTensorContents(**contents))  # type: ignore[arg-type]  # as given
    return message.SerializeToString()


def with_parameter(key: str, where: str = "", **value: object) -> bytes:
    """The good request with a parameter of its own, of its input or of its output."""
    message = good()
    message.outputs.add(name="y")
    holder = getattr(message, where)[0] if where else message
    holder.parameters[key].CopyFrom(InferParameter(**value))  # type: ignore[arg-type]  # as given
    return message.SerializeToString()


IA, NF, UV, UI = "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "UNIMPLEMENTED"
BAD = "INVALID_REQUEST"

GOLDEN: dict[str, tuple[bytes, str, str]] = {
    "M01 random bytes": (b"\xde\xad\xbe\xef" * 9, IA, "MALFORMED_MESSAGE"),
    "M01 large random bytes": (b"\xde\xad\xbe\xef" * 20_000, IA, "MALFORMED_MESSAGE"),
    "M03 no bytes": (b"", IA, BAD),
    "M04 invalid UTF-8 in the model's name": (b"\x0a\x02\xc3\x28", IA, "MALFORMED_MESSAGE"),
    "M04 in the id": (rows([[0, 0]]) + b"\x1a\x01\xff", IA, "MALFORMED_MESSAGE"),
    "M04 in an input's name": (b"\x2a\x03\x0a\x01\xff", IA, "MALFORMED_MESSAGE"),
    "M04 in a parameter's key": (b"\x22\x05\x0a\x01\xff\x12\x00", IA, "MALFORMED_MESSAGE"),
    "M17 many empty inputs": (b"\x2a\x00" * 400_000, IA, "STRUCTURE_TOO_LARGE"),
    "M17 too many inputs": (b"\x2a\x00" * 300, IA, "STRUCTURE_TOO_LARGE"),
    "M19 unknown model": (changed(model_name="n"), NF, "MODEL_NOT_FOUND"),
    "M20 unknown version": (changed(model_version="7"), NF, "VERSION_NOT_FOUND"),
    "M21 version abc": (changed(model_version="abc"), IA, BAD),
    "M21 version 1.5": (changed(model_version="1.5"), IA, BAD),
    "M21 version -1": (changed(model_version="-1"), IA, BAD),
    "M21 version of 30 digits": (changed(model_version="1" * 30), IA, BAD),
    "M23 loading": (changed(model_name="loading"), UV, "MODEL_NOT_READY"),
    "M23 failed to load": (changed(model_name="broken"), UV, "MODEL_NOT_READY"),
    "M23 restarting": (changed(model_name="restarting"), UV, "MODEL_NOT_READY"),
    "M24 ../x": (changed(model_name="../x"), IA, BAD),
    "M24 a/b": (changed(model_name="a/b"), IA, BAD),
    "M24 NUL": (changed(model_name="a\0b"), IA, BAD),
    "M24 10 kB": (changed(model_name="m" * 10_000), IA, BAD),
    "M24 trailing space": (changed(model_name="m "), IA, BAD),
    "M24 confusable": (changed(model_name="м"), IA, BAD),
    "M26 no inputs": (heads(), IA, BAD),
    "M27 a required input is missing": (heads(("i", "INT8", (1,)), raw=[b"1"]), IA, BAD),
    "M28 undeclared input": (beside("q", "INT8", (1,), b"1"), IA, BAD),
    "M29 duplicate input": (beside("x", "FP32", (1, 2), bytes(8)), IA, BAD),
    "M33 no datatype": (heads(("x", "", (1, 2)), raw=[bytes(8)]), IA, BAD),
    "M33 FLOAT": (heads(("x", "FLOAT", (1, 2)), raw=[bytes(8)]), IA, BAD),
    "M33 fp32": (heads(("x", "fp32", (1, 2)), raw=[bytes(8)]), IA, BAD),
    "M33 trailing space": (heads(("x", "FP32 ", (1, 2)), raw=[bytes(8)]), IA, BAD),
    "M34 another datatype": (heads(("x", "INT32", (1, 2)), raw=[bytes(8)]), IA, BAD),
    "M35 typed FP16": (typed("FP16", fp32_contents=[1]), IA, BAD),
    "M37 no shape": (heads(("x", "FP32", ()), raw=[bytes(8)]), IA, BAD),
    "M38 another rank": (heads(("x", "FP32", (2,)), raw=[bytes(8)]), IA, BAD),
    "M38 another fixed dimension": (heads(("x", "FP32", (1, 3)), raw=[bytes(12)]), IA, BAD),
    "M39 -1": (heads(("x", "FP32", (-1, 2)), raw=[bytes(8)]), IA, BAD),
    "M44 2^62 x 4": (beside("z", "FP32", (2**62, 4), b""), IA, "TENSOR_TOO_LARGE"),
    "M44 2^32 x 2^32": (beside("z", "FP32", (2**32, 2**32), b""), IA, "TENSOR_TOO_LARGE"),
    "M45 above the message limit": (beside("z", "FP32", (1, 2**20), b""), IA, "TENSOR_TOO_LARGE"),
    "M48 endless rows without elements": (
        request(
            "m", ("x", "FP32", (2**16, 2)), ("z", "FP32", (2**16, 0)), raw=[bytes(2**19), b""]
        ).SerializeToString(),
        IA,
        "TENSOR_TOO_LARGE",
    ),
    "M49 different batches": (beside("i", "INT8", (2,), b"12"), IA, BAD),
    "M51 typed and raw": (typed("INT8", int_contents=[1]) + b"\x3a\x01\x00", IA, BAD),
    "M52 too few raw tensors": (
        heads(("x", "FP32", (1, 2)), ("i", "INT8", (1,)), raw=[bytes(8)]),
        IA,
        BAD,
    ),
    "M52 no data": (heads(("x", "FP32", (1, 2))), IA, BAD),
    "M54 one byte less": (heads(("x", "FP32", (1, 2)), raw=[bytes(7)]), IA, BAD),
    "M54 one byte more": (heads(("x", "FP32", (1, 2)), raw=[bytes(9)]), IA, BAD),
    "M54 empty": (heads(("x", "FP32", (1, 2)), raw=[b""]), IA, BAD),
    "M54 double": (heads(("x", "FP32", (1, 2)), raw=[bytes(16)]), IA, BAD),
    "M56 empty contents": (typed("INT8"), IA, BAD),
    "M58 another list": (typed("INT8", fp32_contents=[1]), IA, BAD),
    "M60 300 for INT8": (typed("INT8", int_contents=[300]), IA, "VALUE_OUT_OF_RANGE"),
    "M62 BOOL 2": (beside("b", "BOOL", (1,), b"\2"), IA, "VALUE_OUT_OF_RANGE"),
    "M62 BOOL 255": (beside("b", "BOOL", (1,), b"\xff"), IA, "VALUE_OUT_OF_RANGE"),
    "M64 part of a length": (beside("s", "BYTES", (1,), b"\1\0\0"), IA, BAD),
    "M65 beyond the end": (beside("s", "BYTES", (1,), b"\xff\xff\xff\xffa"), IA, BAD),
    "M67 fewer elements": (beside("s", "BYTES", (1,), b""), IA, BAD),
    "M67 more elements": (beside("s", "BYTES", (1,), b"\0\0\0\0\0\0\0\0"), IA, BAD),
    "M74 unknown output": (
        request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)], outputs=["q"]).SerializeToString(),
        IA,
        BAD,
    ),
    "M77 no value": (with_parameter("k"), IA, BAD),
    "M77 wrong type": (with_parameter("sequence_start", string_param="x"), IA, BAD),
    "M77 uint64 for one's own": (with_parameter("k", uint64_param=1), IA, BAD),
    "M77 a megabyte": (with_parameter("k", string_param="x" * 900_000), IA, "STRUCTURE_TOO_LARGE"),
    "M77 a key of 600 kB": (with_parameter("k" * 600_000, bool_param=True), IA, "STRUCTURE_TOO_LARGE"),
    "M77 a key of 60 kB": (with_parameter("k" * 60_000), IA, BAD),
    "M77 triton_": (with_parameter("triton_k", bool_param=True), IA, BAD),
    "M78 negative timeout": (with_parameter("timeout", int64_param=-1), IA, BAD),
    "M80 negative priority": (with_parameter("priority", int64_param=-1), IA, BAD),
    "M82 shared memory in": (with_parameter("shared_memory_region", "inputs", string_param="r"), IA, BAD),
    "M82 shared memory out": (with_parameter("shared_memory_region", "outputs", string_param="r"), IA, BAD),
    "M83 classification": (with_parameter("classification", "outputs", int64_param=0), IA, BAD),
    "M84 sequence": (with_parameter("sequence_id", int64_param=7), UI, UI),
    "M85 long id": (changed(id="i" * 900_000), IA, BAD),
    "M85 newline": (changed(id="a\nb"), IA, BAD),
    "M85 escape": (changed(id="\x1b[31m"), IA, BAD),
    "M85 NUL": (changed(id="a\0"), IA, BAD),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_each_malformed_request_has_its_code_and_reason(
    served: tuple[grpc.Channel, LinkWorker], case: str
) -> None:
    """A change of what a caller gets for a bad request is a reviewed line of this table."""
    channel, worker = served
    payload, code, reason = GOLDEN[case]
    outcome = call(channel, payload)
    assert (outcome.code.name, outcome.reason) == (code, reason), outcome
    assert len(outcome.message) <= 512
    assert outcome.message.isprintable()
    assert worker.batches == []
    if code == UV and "failed" not in case:
        assert outcome.retry_after


def test_bad_requests_leave_the_server_as_it_was(served: tuple[grpc.Channel, LinkWorker]) -> None:
    """After all of them the good request is served, and unknown fields are ignored (M05)."""
    channel, _ = served
    for payload in (good().SerializeToString(), good().SerializeToString() + b"\xa2\x06\x01x"):
        assert call(channel, payload).response.outputs[0].name == "y"


def test_inputs_are_matched_by_name(served: tuple[grpc.Channel, LinkWorker]) -> None:
    """Their order is the caller's choice (M31)."""
    channel, _ = served
    values = np.array([[1, 2]], np.float32).tobytes()
    payload = heads(("i", "INT8", (1,)), ("x", "FP32", (1, 2)), raw=[b"1", values])
    assert list(call(channel, payload).response.raw_output_contents) == [values]


@pytest.mark.parametrize(
    ("size", "compression"),
    [
        ((1 << 20) + 1, None),  # M07
        (30 << 20, grpc.Compression.Gzip),  # M09
    ],
)
def test_messages_above_the_limit_are_refused(
    served: tuple[grpc.Channel, LinkWorker], size: int, compression: grpc.Compression | None
) -> None:
    """As they arrive or once unpacked, with gRPC's own code, every time."""
    channel, _ = served
    for _ in range(3):
        outcome = call(channel, bytes(size), compression=compression)
        assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED, outcome


def test_a_call_without_a_message_is_answered(served: tuple[grpc.Channel, LinkWorker]) -> None:
    """A caller that half-closes at once gets an error, where grpcio never answers (M12)."""
    channel, _ = served
    method = channel.stream_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    with pytest.raises(grpc.RpcError) as caught:
        method(iter([]), timeout=10)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_deadline_that_has_passed_is_told(served: tuple[grpc.Channel, LinkWorker]) -> None:
    """Before any work is done (M87)."""
    channel, worker = served
    before = list(worker.batches)
    assert call(channel, rows([[0, 0]]), timeout=0).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert worker.batches == before


def test_authorization_changes_nothing(served: tuple[grpc.Channel, LinkWorker]) -> None:
    """There is no authentication yet: what is sent along is ignored (M90)."""
    channel, _ = served
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    for value in ("", "Basic x", "Bearer " + "x" * 6000):
        assert method(rows([[0, 0]]), timeout=10, metadata=(("authorization", value),))
