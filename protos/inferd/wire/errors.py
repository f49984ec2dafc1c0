"""The tree of errors that callers see, named by cause.

ServingError
├── InvalidRequest        what arrived cannot be served as it is; sending it again is of no use
│   ├── MethodNotAllowed  HTTP only: the path exists, not with this method
│   └── EncodingUnknown   HTTP only: a body packed in a way that is not understood
├── NotFound              no such model or version
│   ├── ModelNotFound
│   ├── VersionNotFound
│   └── PathNotFound      HTTP only
├── Unavailable           a retry may succeed
│   ├── ModelNotReady
│   ├── WorkerLost
│   └── Draining
├── Exhausted             a limit was hit; a retry would feed the overload
│   ├── MessageTooLarge   HTTP only: in gRPC its core says so
│   ├── QueueFull
│   ├── ArenaFull
│   └── ModelOutOfMemory
├── DeadlineExceeded
├── Cancelled
├── Unimplemented
├── Forbidden             the operator switched this off
├── LoadFailed            a model did not load
└── Internal
    ├── ModelFailed       the model's own code raised
    ├── OutputInvalid     the model's answer does not fit its signature
    └── Unexpected        a fault of ours, told to the caller as its id only
"""

from __future__ import annotations

from collections.abc import Mapping


class ServingError(Exception):
    """An error with a stable `reason`, a message for people and, where a retry makes sense, when.

    `field` is the path of the offending request field, such as `inputs[2].shape[1]`.
    `retry_after` is in seconds. `metadata` names model, version and the like for machines.
    """

    reason = "SERVING_ERROR"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.field = field
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class InvalidRequest(ServingError):
    """The request is malformed or does not fit the model's signature."""

    reason = "INVALID_REQUEST"


class MethodNotAllowed(InvalidRequest):
    """The path exists, but not with this HTTP method."""

    reason = "METHOD_NOT_ALLOWED"


class EncodingUnknown(InvalidRequest):
    """The body is packed in a way that this server does not understand."""

    reason = "ENCODING_UNKNOWN"


class NotFound(ServingError):
    """The thing named does not exist."""

    reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of this name is known to the repository."""

    reason = "MODEL_NOT_FOUND"


class VersionNotFound(NotFound):
    """The model exists, this version of it does not."""

    reason = "VERSION_NOT_FOUND"


class PathNotFound(NotFound):
    """Nothing is served at this path."""

    reason = "PATH_NOT_FOUND"


class Unavailable(ServingError):
    """Not now; a retry may succeed."""

    reason = "UNAVAILABLE"


class ModelNotReady(Unavailable):
    """The model is loading, restarting, failed to load or was unloaded."""

    reason = "MODEL_NOT_READY"


class WorkerLost(Unavailable):
    """The worker process died while it held this request."""

    reason = "WORKER_LOST"


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"


class Exhausted(ServingError):
    """A limit of this server was reached."""

    reason = "RESOURCE_EXHAUSTED"


class MessageTooLarge(Exhausted):
    """The request is larger than this server takes."""

    reason = "MESSAGE_TOO_LARGE"


class QueueFull(Exhausted):
    """As many requests wait for this model as its queue holds."""

    reason = "QUEUE_FULL"


class ArenaFull(Exhausted):
    """The request or its answer does not fit in the memory shared with the worker."""

    reason = "ARENA_FULL"


class ModelOutOfMemory(Exhausted):
    """The device or host memory did not suffice for this batch."""

    reason = "MODEL_OOM"


class DeadlineExceeded(ServingError):
    """The caller's deadline passed before the request was executed."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(ServingError):
    """The caller went away."""

    reason = "CANCELLED"


class Unimplemented(ServingError):
    """This server does not offer the operation."""

    reason = "UNIMPLEMENTED"


class Forbidden(ServingError):
    """The operator has switched this operation off."""

    reason = "FORBIDDEN"


class LoadFailed(ServingError):
    """A model asked for by name did not load; what served before still does."""

    reason = "LOAD_FAILED"


class Internal(ServingError):
    """Something broke on the server's side."""

    reason = "INTERNAL"


class ModelFailed(Internal):
    """The model's own code raised an error."""

    reason = "MODEL_ERROR"


class OutputInvalid(Internal):
    """The model's answer does not fit what it declared."""

    reason = "MODEL_OUTPUT_INVALID"


class Unexpected(Internal):
    """A fault of this server; the message carries only the id under which it was logged."""

    reason = "INTERNAL_ERROR"


def error_types() -> dict[str, type[ServingError]]:
    """Every error type by its class reason: how an error is rebuilt on the other side of a link."""
    found: dict[str, type[ServingError]] = {}
    todo: list[type[ServingError]] = [ServingError]
    while todo:
        kind = todo.pop()
        found[kind.reason] = kind
        todo.extend(kind.__subclasses__())
    return found
