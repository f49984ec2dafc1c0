"""A unary call on grpcio's completion queue."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic, time
from typing import Any

from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.rpc.completion_queue.core import cygrpc
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import InvalidRequest, ServingError
from inferd.wire.status import code_of, message_of, trailers_of

_NO_FLAGS = 0
_NEVER = 9e9
"""The year 2255: the core says "no deadline" with the last moment that fits into its nanoseconds."""
_OK = cygrpc.StatusCode.ok

# Bound once: looked up in the module four times a request they would cost half a microsecond.
ReceiveMessage = cygrpc.ReceiveMessageOperation
ReceiveClose = cygrpc.ReceiveCloseOnServerOperation
SendInitialMetadata = cygrpc.SendInitialMetadataOperation
SendMessage = cygrpc.SendMessageOperation
SendStatus = cygrpc.SendStatusFromServerOperation


class QueuedUnaryCall:
    """Answers through operations on the completion queue, from any thread.

    Operation objects own memory of the C core: each batch gets fresh ones.

    A batch costs the core, the queue and the loop about a fifth of all that a small request costs.
    So whether the caller goes away is asked together with the answer, where the core wants it asked
    for, unless somebody watches the call before.
    """

    __slots__ = (
        "_arrived",
        "_call",
        "_handle",
        "_on_cancel",
        "_record",
        "_watched",
        "deadline",
        "metadata",
        "method",
        "payload",
    )

    def __init__(
        self,
        event: Any,
        method: str,
        handle: Callable[[QueuedUnaryCall], None],
        record: CallRecord,
    ) -> None:
        """`event` announces the call; the message is still to come."""
        self._arrived = monotonic()
        self.method = method
        self.metadata: Metadata = event.invocation_metadata
        self.payload = b""
        self.deadline = monotonic_deadline(event.call_details.deadline)
        self._handle = handle
        # Taken by whichever of answer and leaving comes first: it is one call.
        self._record: CallRecord | None = record
        self._watched = False
        self._on_cancel: Callable[[], None] | None = None
        self._call = event.call
        self._call.start_server_batch((ReceiveMessage(_NO_FLAGS),), self._on_message)

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called, on the loop's thread, when the caller goes away."""
        self._on_cancel = on_cancel
        if self._watched:
            return
        self._watched = True
        self._call.start_server_batch((ReceiveClose(_NO_FLAGS),), self._on_close)

    def peer(self) -> str:
        """Who calls, as gRPC has it."""
        found: str = self._call.peer().decode(errors="replace")
        return found

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised message."""
        self.payload = b""
        record, self._record = self._record, None
        if record is not None:  # before it goes out: whoever has the answer finds it counted
            record.answered(monotonic() - self._arrived)
        if self._watched:
            self._on_cancel = None
            operations: tuple[Any, ...] = (
                SendInitialMetadata((), _NO_FLAGS),
                SendMessage(payload, _NO_FLAGS),
                SendStatus((), _OK, b"", _NO_FLAGS),
            )
        else:
            operations = (
                SendInitialMetadata((), _NO_FLAGS),
                SendMessage(payload, _NO_FLAGS),
                SendStatus((), _OK, b"", _NO_FLAGS),
                ReceiveClose(_NO_FLAGS),
            )
        self._call.start_server_batch(operations, ignore)

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""
        self.payload = b""
        self._on_cancel = None
        record, self._record = self._record, None
        if record is not None:
            record.failed(monotonic() - self._arrived, code_of(error).name)
        operations = [SendInitialMetadata((), _NO_FLAGS), status_operation(error)]
        if not self._watched:
            operations.append(ReceiveClose(_NO_FLAGS))
        self._call.start_server_batch(tuple(operations), ignore)

    def _on_message(self, event: Any) -> None:
        payload = event.batch_operations[0].message()
        if payload is None:
            # Or it was cancelled before its message was read; then nobody hears this.
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
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None and event.batch_operations[0].cancelled():
            record, self._record = self._record, None
            if record is not None:
                now = monotonic()
                record.left(now - self._arrived, self.deadline, now)
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
    return inf if epoch > _NEVER else monotonic() + (epoch - time()) - 0.001
