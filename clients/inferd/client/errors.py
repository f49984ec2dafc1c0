"""What goes wrong for a caller, named by cause.

InferenceError
├── InvalidInput          the arguments do not fit the model (also a ValueError)
├── NotFound
│   ├── ModelNotFound
│   └── VersionNotFound
├── ServerUnavailable     nobody answers, or not now: a retry may succeed
│   ├── ModelNotReady     the model is loading, restarting, failed to load or was unloaded
│   └── WorkerLost        the process that held this request died
├── Overloaded            a limit of the server was reached: sending more makes it worse
├── DeadlineExceeded      no answer in time (also a TimeoutError)
├── Cancelled             the call was ended before its answer came
├── AccessDenied          the server refuses this caller, or its operator switched this off
├── Unsupported           the server does not offer this operation
├── LoadFailed            a model asked for by name did not load
├── ServerFault           something broke on the server's side
│   └── ModelFailed       the model's own code raised an error
├── AnswerInvalid         what the server answered cannot be read
└── ClientClosed          this client was closed before
"""

from __future__ import annotations

from collections.abc import Mapping


class InferenceError(Exception):
    """An error with a message for people and the rest for programs.

    `reason` is stable, such as `QUEUE_FULL`. `code` is the name of the gRPC status, None for what
    was found before anything was sent. `field` is the path of the offending request field,
    `retry_after` the server's advice in seconds, `metadata` names model, version and the like.
    """

    reason = "INFERENCE_ERROR"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        code: str | None = None,
        field: str | None = None,
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class InvalidInput(InferenceError, ValueError):
    """The arguments do not fit the model; `argument` names the input at fault, where there is one."""

    reason = "INVALID_REQUEST"
    argument: str | None = None


class NotFound(InferenceError):
    """The server does not know the thing named."""

    reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """The server has no model of this name."""

    reason = "MODEL_NOT_FOUND"


class VersionNotFound(NotFound):
    """The server has the model, not this version of it."""

    reason = "VERSION_NOT_FOUND"


class ServerUnavailable(InferenceError):
    """No server answers at the address, or it cannot serve now; a retry may succeed."""

    reason = "UNAVAILABLE"


class ModelNotReady(ServerUnavailable):
    """The model is loading, restarting, failed to load or was unloaded."""

    reason = "MODEL_NOT_READY"


class WorkerLost(ServerUnavailable):
    """The worker process died while it held this request."""

    reason = "WORKER_LOST"


class Overloaded(InferenceError):
    """A limit of the server was reached; `reason` tells which. Slow down before trying again."""

    reason = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(InferenceError, TimeoutError):
    """No answer came within the call's timeout."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(InferenceError):
    """The call was ended, by the server or by closing the client, before its answer came."""

    reason = "CANCELLED"


class AccessDenied(InferenceError):
    """The server refuses this caller, or its operator has switched the operation off."""

    reason = "FORBIDDEN"


class Unsupported(InferenceError):
    """The server does not offer this operation."""

    reason = "UNIMPLEMENTED"


class LoadFailed(InferenceError):
    """The model did not load; what the server served before it still serves."""

    reason = "LOAD_FAILED"


class ServerFault(InferenceError):
    """Something broke on the server's side."""

    reason = "INTERNAL"


class ModelFailed(ServerFault):
    """The model's own code raised an error, or answered what it did not declare."""

    reason = "MODEL_ERROR"


class AnswerInvalid(InferenceError):
    """The server's answer cannot be read: it is not of this protocol, or damaged."""

    reason = "ANSWER_INVALID"


class ClientClosed(InferenceError):
    """The client was closed; connect again."""

    reason = "CLIENT_CLOSED"


def invalid(
    message: str, argument: str | None = None, *, reason: str = "INVALID_REQUEST"
) -> InvalidInput:
    """An `InvalidInput` found before sending, about the input named `argument`."""
    error = InvalidInput(message, reason=reason)
    error.argument = argument
    return error
