"""A unary call on grpcio's completion queue."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic, time
from typing import Any

from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.rpc.completion_queue.core import cygrpc
from inferd.server.gateway.rpc.faults import unexpected
from inferd.wire.errors import InvalidRequest, ServingError
from inferd.wire.status import code_of, message_of, trailers_of

_NO_FLAGS = 0
_OK = cygrpc.StatusCode.ok


class QueuedUnaryCall:
    """Answers through operations on the completion queue, from any thread.

    Operation objects own memory of the C core: each batch gets fresh ones.
    """

    __slots__ = (
        "_call",
        "_gone",
        "_handle",
        "deadline",
        "metadata",
        "method",
        "on_cancel",
        "payload",
    )

    def __init__(self, event: Any, method: str, handle: Callable[[QueuedUnaryCall], None]) -> None:
        """`event` announces the call; the message is still to come."""
        self.method = method
        self.metadata: Metadata = event.invocation_metadata
        self.payload = b""
        self.deadline = monotonic_deadline(event.call_details.deadline)
        self.on_cancel: Callable[[], None] | None = None
        self._handle = handle
        self._gone = False
        self._call = event.call
        self._call.start_server_batch(
            (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._on_message
        )
        self._call.start_server_batch(
            (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_close
        )

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised message."""
        self.on_cancel = None
        self._call.start_server_batch(
            (
                cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
                cygrpc.SendMessageOperation(payload, _NO_FLAGS),
                cygrpc.SendStatusFromServerOperation((), _OK, b"", _NO_FLAGS),
            ),
            ignore,
        )

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""
        self.on_cancel = None
        self._call.start_server_batch(
            (cygrpc.SendInitialMetadataOperation((), _NO_FLAGS), status_operation(error)), ignore
        )

    def _on_message(self, event: Any) -> None:
        payload = event.batch_operations[0].message()
        if self._gone:
            return  # cancelled before its message was read: nobody waits for an answer
        if payload is None:
            self.fail(InvalidRequest("the call ended without a message", reason="NO_MESSAGE"))
            return
        self.payload = payload
        try:
            self._handle(self)
        except ServingError as error:
            self.fail(error)
        except Exception as error:  # the last resort: a fault of ours never stops the door
            self.fail(unexpected(error, self.method))

    def _on_close(self, event: Any) -> None:
        # Taken before it is looked at: an answer from another thread clears it at any moment.
        on_cancel, self.on_cancel = self.on_cancel, None
        self._gone = True
        if on_cancel is not None and event.batch_operations[0].cancelled():
            on_cancel()


def ignore(event: object) -> None:
    """What happens when an operation of no consequence has ended."""


def status_operation(error: ServingError) -> Any:
    """The operation that ends a call with this error."""
    return cygrpc.SendStatusFromServerOperation(
        trailers_of(error), code_of(error).value[0], message_of(error).encode(), _NO_FLAGS
    )


def monotonic_deadline(epoch: float) -> float:
    """A gRPC deadline, a moment of the wall clock, in monotonic seconds; infinite for none.

    The core rounds up to whole milliseconds; rounded down, a timeout of 0 has passed on arrival.
    """
    return inf if epoch == inf else monotonic() + (epoch - time()) - 0.001
