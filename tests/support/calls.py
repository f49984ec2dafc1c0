"""Raw gRPC calls with any bytes, and requests in the fewest words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import numpy.typing as npt
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.status import DETAILS_KEY

SERVICE = "/inference.GRPCInferenceService/"

Metadata = tuple[tuple[str, str], ...]

ROWS = Signature(
    (TensorSpec("x", "FP32", (Axis("batch", 1), Axis("n"))),),
    (TensorSpec("y", "FP32", (Axis("batch", 1), Axis("n"))),),
    max_batch_size=4,
)
"""A model that batches four rows of any length."""

ANYTHING = Signature((TensorSpec("x", "ANY", None),), (TensorSpec("y", "ANY", None),))
"""A model that takes one tensor of any datatype and shape, one request at a time."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended; `retry_after` in seconds, `field` of the first violation."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    field: str = ""
    retry_after: float | None = None
    payload: bytes = b""

    @property
    def response(self) -> ModelInferResponse:
        """The answer of an inference."""
        assert self.code is grpc.StatusCode.OK, self
        return ModelInferResponse.FromString(self.payload)


def call(
    channel: grpc.Channel,
    payload: bytes,
    method: str = "ModelInfer",
    *,
    timeout: float | None = 20,
    compression: grpc.Compression | None = None,
    metadata: Metadata = (),
) -> Outcome:
    """Call a method of the inference service with these bytes and wait for the end."""
    return begin(
        channel, payload, method, timeout=timeout, compression=compression, metadata=metadata
    ).outcome()


@dataclass(frozen=True)
class Begun:
    """A call under way."""

    future: grpc.CallFuture[bytes]

    def cancel(self) -> None:
        """Give it up."""
        self.future.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped

    def outcome(self) -> Outcome:
        """Wait for its end."""
        try:
            return Outcome(grpc.StatusCode.OK, "", payload=self.future.result(timeout=30))
        except grpc.RpcError as error:
            return outcome_of(error)
        except grpc.FutureCancelledError:
            return Outcome(grpc.StatusCode.CANCELLED, "by the test")


def begin(
    channel: grpc.Channel,
    payload: bytes,
    method: str = "ModelInfer",
    *,
    timeout: float | None = 20,
    compression: grpc.Compression | None = None,
    metadata: Metadata = (),
) -> Begun:
    """Start a call without waiting for it."""
    path = method if method.startswith("/") else SERVICE + method
    rpc = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    return Begun(rpc.future(payload, timeout=timeout, compression=compression, metadata=metadata))


def outcome_of(error: grpc.RpcError) -> Outcome:
    """What a failed call says, its details decoded."""
    assert isinstance(error, grpc.Call)
    reason, field, retry_after = "", "", None
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY:
            continue
        for detail in Status.FromString(value).details:
            info, violations, retry = ErrorInfo(), BadRequest(), RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
            if detail.Unpack(violations):
                field = violations.field_violations[0].field
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return Outcome(error.code(), error.details() or "", reason, field, retry_after)


def request(
    model: str = "m",
    *inputs: tuple[str, str, Sequence[int]],
    raw: Sequence[bytes] = (),
    version: str = "",
    id: str = "",  # noqa: A002  # the protocol's word
    outputs: Sequence[str] = (),
) -> ModelInferRequest:
    """A request with inputs as (name, datatype, shape)."""
    message = ModelInferRequest(
        model_name=model, model_version=version, id=id, raw_input_contents=raw
    )
    for name, datatype, shape in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
    for name in outputs:
        message.outputs.add(name=name)
    return message


def rows(values: npt.ArrayLike, model: str = "m", **more: str) -> bytes:
    """A serialised request of FP32 rows for `ROWS`."""
    array = np.asarray(values, np.float32)
    head = ("x", "FP32", array.shape)
    return request(model, head, raw=[array.tobytes()], **more).SerializeToString()


def values_of(outcome: Outcome) -> list[list[float]]:
    """The first output of an answer as nested lists of FP32."""
    response = outcome.response
    array = np.frombuffer(response.raw_output_contents[0], np.float32)
    found: list[list[float]] = array.reshape(tuple(response.outputs[0].shape)).tolist()
    return found
