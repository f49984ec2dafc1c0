"""The table from errors to gRPC status, and the details beside it."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from inferd.wire import errors
from inferd.wire.status import (
    DETAILS_KEY,
    PUSHBACK_KEY,
    code_of,
    http_status_of,
    message_of,
    trailers_of,
)

_CODES = {
    errors.ServingError: "INTERNAL",
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.MethodNotAllowed: "INVALID_ARGUMENT",
    errors.EncodingUnknown: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.ModelNotFound: "NOT_FOUND",
    errors.VersionNotFound: "NOT_FOUND",
    errors.PathNotFound: "NOT_FOUND",
    errors.RegionNotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.SequenceLost: "FAILED_PRECONDITION",
    errors.Unavailable: "UNAVAILABLE",
    errors.ModelNotReady: "UNAVAILABLE",
    errors.WorkerLost: "UNAVAILABLE",
    errors.Draining: "UNAVAILABLE",
    errors.Exhausted: "RESOURCE_EXHAUSTED",
    errors.MessageTooLarge: "RESOURCE_EXHAUSTED",
    errors.QueueFull: "RESOURCE_EXHAUSTED",
    errors.ArenaFull: "RESOURCE_EXHAUSTED",
    errors.ModelOutOfMemory: "RESOURCE_EXHAUSTED",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
    errors.Unimplemented: "UNIMPLEMENTED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.LoadFailed: "INVALID_ARGUMENT",
    errors.Internal: "INTERNAL",
    errors.ModelFailed: "INTERNAL",
    errors.OutputInvalid: "INTERNAL",
    errors.Unexpected: "INTERNAL",
}


_HTTP = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 400,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 429,
    "DEADLINE_EXCEEDED": 504,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "PERMISSION_DENIED": 403,
    "INTERNAL": 500,
}

_HTTP_ALONE = {
    errors.MethodNotAllowed: 405,
    errors.EncodingUnknown: 415,
    errors.MessageTooLarge: 413,
}


def details_of(error: errors.ServingError) -> tuple[Status, dict[str, str | bytes]]:
    """The google.rpc.Status in the trailers, and the trailers."""
    trailers = dict(trailers_of(error))
    serialized = trailers[DETAILS_KEY]
    assert isinstance(serialized, bytes)
    return Status.FromString(serialized), trailers


def detail(status: Status, kind: type[Message]) -> Message | None:
    """The one detail of this kind."""
    found = kind()
    return found if any(each.Unpack(found) for each in status.details) else None


def test_every_error_of_the_tree_has_its_code() -> None:
    """The table is complete: a new error is a reviewed line here."""
    kinds = errors.error_types()
    assert set(kinds.values()) == set(_CODES)
    assert {kind: code_of(kind("x")).name for kind in _CODES} == _CODES


@pytest.mark.parametrize("kind", _CODES)
def test_every_error_has_the_http_status_of_its_grpc_code(kind: type[errors.ServingError]) -> None:
    """But for what only HTTP has, as google.rpc.Code pairs them."""
    assert http_status_of(kind("x")) == _HTTP_ALONE.get(kind, _HTTP[_CODES[kind]])


def test_reasons_tell_the_errors_apart() -> None:
    """Every class has a reason of its own, by which it is rebuilt behind a link."""
    kinds = errors.error_types()
    assert all(kind.reason == reason for reason, kind in kinds.items())
    assert len(kinds) == len(_CODES)


def test_details_carry_reason_field_and_retry() -> None:
    """Machines find ErrorInfo, BadRequest and RetryInfo, and the pushback of gRFC A6."""
    error = errors.WorkerLost("gone", field="inputs[0]", retry_after=1.5, metadata={"model": "m"})
    status, trailers = details_of(error)
    assert (status.code, status.message) == (grpc.StatusCode.UNAVAILABLE.value[0], "gone")
    info, bad, retry = (detail(status, kind) for kind in (ErrorInfo, BadRequest, RetryInfo))
    assert isinstance(info, ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "WORKER_LOST",
        "inferd",
        {"model": "m"},
    )
    assert isinstance(bad, BadRequest)
    assert bad.field_violations[0].field == "inputs[0]"
    assert isinstance(retry, RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert trailers[PUSHBACK_KEY] == "1500"


@pytest.mark.parametrize(
    ("error", "pushback"),
    [
        (errors.QueueFull("full"), "-1"),
        (errors.Unavailable("later"), None),
        (errors.Unavailable("later", retry_after=0), "1"),
        (errors.InvalidRequest("no"), None),
    ],
)
def test_an_overload_is_never_fed_by_retries(
    error: errors.ServingError, pushback: str | None
) -> None:
    """Exhausted says never; unavailable says when, if that is known."""
    assert dict(trailers_of(error)).get(PUSHBACK_KEY) == pushback


@pytest.mark.parametrize(
    "text", ["x" * 10_000_000, "\x00\x1b[31m\n" * 1000, "😀" * 5000, "\ud800" * 600, "é" * 512]
)
def test_messages_are_short_and_printable(text: str) -> None:
    """At most 512 printable characters, small enough in a header to leave room for the details."""
    error = errors.InvalidRequest(text, field="é" * 10_000)
    message = message_of(error)
    assert len(message) <= 512
    assert message.isprintable()
    trailers = sum(len(value) for _, value in trailers_of(error))
    assert 3 * len(message.encode()) + 4 * trailers / 3 < 8000


def test_control_characters_are_shown_escaped() -> None:
    """A newline or an escape sequence does not reach a terminal."""
    assert message_of(errors.Internal("a\nb\x1b")) == "a\\nb\\x1b"
    assert message_of(errors.Internal("ä b")) == "ä b"
