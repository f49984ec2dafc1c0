"""From a gRPC status and its google.rpc details to the errors that callers see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from inferd.client import errors
from inferd.protos.v1.bulk_pb2 import Error
from inferd.wire.status import DETAILS_KEY

BY_REASON: dict[str, type[errors.InferenceError]] = {
    "MODEL_NOT_FOUND": errors.ModelNotFound,
    "VERSION_NOT_FOUND": errors.VersionNotFound,
    "MODEL_NOT_READY": errors.ModelNotReady,
    "WORKER_LOST": errors.WorkerLost,
    "LOAD_FAILED": errors.LoadFailed,
    "MODEL_ERROR": errors.ModelFailed,
    "MODEL_OUTPUT_INVALID": errors.ModelFailed,
}
"""Reasons that tell more than their gRPC code does."""

BY_CODE: dict[grpc.StatusCode, type[errors.InferenceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessDenied,
    grpc.StatusCode.UNAUTHENTICATED: errors.AccessDenied,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unsupported,
}
"""Every other code is a `ServerFault`."""

_CODES = {each.value[0]: each for each in grpc.StatusCode}

_INPUT_PATH = re.compile(r"inputs\[(\d+)\]")


class FailedCall(Protocol):
    """What grpc and grpc.aio both raise for a call that ended with a status other than OK."""

    def code(self) -> grpc.StatusCode:
        """The status code."""

    def details(self) -> str | None:
        """The status message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What the server sent after its answer."""


@dataclass(slots=True)
class _Details:
    """The parts of google.rpc details that this client reads."""

    reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    field: str | None = None
    retry_after: float | None = None


def error_of(
    call: FailedCall, *, address: str, timeout: float | None, inputs: Sequence[str] = ()
) -> errors.InferenceError:
    """The error for a failed call to `address`.

    `inputs` are the names of the request's inputs in order: they turn `inputs[1]` in the server's
    details into the argument's name.
    """
    details = _details_of(call)
    kind = BY_REASON.get(details.reason or "") or BY_CODE.get(call.code(), errors.ServerFault)
    error = kind(
        _message_of(
            call, kind, answered=details.reason is not None, address=address, limit=timeout
        ),
        reason=details.reason,
        code=call.code().name,
        field=details.field,
        retry_after=details.retry_after,
        metadata=details.metadata,
    )
    if isinstance(error, errors.InvalidInput):
        error.argument = _argument_of(details.field, inputs)
    return error


def _message_of(
    call: FailedCall,
    kind: type[errors.InferenceError],
    *,
    answered: bool,
    address: str,
    limit: float | None,
) -> str:
    text = call.details() or f"{address} answered {call.code().name} without saying more"
    if answered:  # the server's own words
        return text
    if kind is errors.ServerUnavailable:
        if text.startswith(
            ("failed to connect", "connections to all backends failing")
        ):  # the rest is gRPC's view of its subchannels
            text = f"{text.rpartition(': ')[2]}; is a server running there?"
        return f"no answer from {address}: {text}"
    if kind is errors.Overloaded and "larger than max" in text:  # gRPC's words, before our server's
        return f"{text}; send fewer rows at a time, or raise the server's max_message_bytes"
    if kind is errors.DeadlineExceeded and limit is not None:
        return f"no answer from {address} within {limit:g} s; give it longer with timeout="
    return text


def _details_of(call: FailedCall) -> _Details:
    details = _Details()
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            _read_status(value, details)
    return details


def _read_status(value: bytes, details: _Details) -> None:
    try:
        for packed in Status.FromString(value).details:
            _read_detail(packed, details)
    except DecodeError:
        return  # what does not parse is left out; code and message are there all the same


def _read_detail(packed: Any, details: _Details) -> None:
    info, violations, retry = ErrorInfo(), BadRequest(), RetryInfo()
    if packed.Unpack(info):
        details.reason = info.reason or None
        details.metadata = dict(info.metadata)
    elif packed.Unpack(violations) and violations.field_violations:
        details.field = violations.field_violations[0].field
    elif packed.Unpack(retry):
        details.retry_after = retry.retry_delay.ToTimedelta().total_seconds()


def _argument_of(path: str | None, inputs: Sequence[str]) -> str | None:
    found = _INPUT_PATH.match(path or "")
    if found is None or int(found[1]) >= len(inputs):
        return None
    return inputs[int(found[1])]


def error_in_place(told: Error, inputs: Sequence[str] = ()) -> errors.InferenceError:
    """The error that stands for one answer of a stream; `inputs` as for `error_of`."""
    code = _CODES.get(told.code, grpc.StatusCode.UNKNOWN)
    kind = BY_REASON.get(told.reason) or BY_CODE.get(code, errors.ServerFault)
    error = kind(
        told.message,
        reason=told.reason or None,
        code=code.name,
        field=told.field or None,
        retry_after=told.retry_after or None,
        metadata=dict(told.metadata),
    )
    if isinstance(error, errors.InvalidInput):
        error.argument = _argument_of(error.field, inputs)
    return error
