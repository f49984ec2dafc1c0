"""One table from errors to gRPC and HTTP status, and the details that travel with it (google.rpc)."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from inferd.wire import errors

DOMAIN = "inferd"
"""`domain` of every google.rpc.ErrorInfo that this server sends."""

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key of the serialised google.rpc.Status (gRPC's richer error model)."""

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata key that tells a gRPC client when to retry, in ms; -1 says never (gRFC A6)."""

MESSAGE_LIMIT = 512
"""Longer status messages push trailers beyond the 16 KB that clients accept, hiding the code."""

_BYTES_LIMIT = 2 * MESSAGE_LIMIT
"""The message in UTF-8, of which each byte beyond ASCII takes three in a header."""

_FIELD_LIMIT = 128

_Code = grpc.StatusCode

STATUS: dict[type[errors.ServingError], tuple[grpc.StatusCode, int]] = {
    errors.InvalidRequest: (_Code.INVALID_ARGUMENT, 400),
    errors.MethodNotAllowed: (_Code.INVALID_ARGUMENT, 405),
    errors.EncodingUnknown: (_Code.INVALID_ARGUMENT, 415),
    errors.NotFound: (_Code.NOT_FOUND, 404),
    errors.AlreadyExists: (_Code.ALREADY_EXISTS, 409),
    errors.SequenceLost: (_Code.FAILED_PRECONDITION, 400),
    errors.Unavailable: (_Code.UNAVAILABLE, 503),
    errors.Exhausted: (_Code.RESOURCE_EXHAUSTED, 429),
    errors.MessageTooLarge: (_Code.RESOURCE_EXHAUSTED, 413),
    errors.DeadlineExceeded: (_Code.DEADLINE_EXCEEDED, 504),
    errors.Cancelled: (_Code.CANCELLED, 499),
    errors.Unimplemented: (_Code.UNIMPLEMENTED, 501),
    errors.Forbidden: (_Code.PERMISSION_DENIED, 403),
    errors.LoadFailed: (_Code.INVALID_ARGUMENT, 400),
    errors.Internal: (_Code.INTERNAL, 500),
}
"""The gRPC and the HTTP code of each branch of the tree; a leaf has those of its nearest ancestor."""


def code_of(error: errors.ServingError) -> grpc.StatusCode:
    """The gRPC status code for an error."""
    return _codes_of(error)[0]


def http_status_of(error: errors.ServingError) -> int:
    """The HTTP status code for an error."""
    return _codes_of(error)[1]


def _codes_of(error: errors.ServingError) -> tuple[grpc.StatusCode, int]:
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return STATUS[errors.Internal]


def message_of(error: errors.ServingError) -> str:
    """The message in at most 512 printable characters."""
    start = error.message[: MESSAGE_LIMIT + 1]  # of what a model says, which has no limit
    text = "".join([c if c.isprintable() else repr(c)[1:-1] for c in start])
    if len(text) <= MESSAGE_LIMIT and len(text.encode()) <= _BYTES_LIMIT:
        return text
    return text[: MESSAGE_LIMIT - 1].encode()[: _BYTES_LIMIT - 3].decode(errors="ignore") + "…"


def trailers_of(error: errors.ServingError) -> tuple[tuple[str, bytes | str], ...]:
    """Trailing metadata: the details, and when to retry if that makes sense."""
    code = code_of(error)
    status = Status(code=code.value[0], message=message_of(error))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.field is not None:
        violation = BadRequest.FieldViolation(
            field=error.field[:_FIELD_LIMIT], description=message_of(error)
        )
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    pushback = None
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
        pushback = str(max(1, round(error.retry_after * 1000)))
    elif code is grpc.StatusCode.UNAVAILABLE or code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        pushback = None if code is grpc.StatusCode.UNAVAILABLE else "-1"
    details: tuple[tuple[str, bytes | str], ...] = ((DETAILS_KEY, status.SerializeToString()),)
    return details if pushback is None else (*details, (PUSHBACK_KEY, pushback))
