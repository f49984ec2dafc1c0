"""A streaming call on grpcio's completion queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.rpc.completion_queue.core import cygrpc
from inferd.server.gateway.rpc.completion_queue.unary import (
    ignore,
    monotonic_deadline,
    status_operation,
)
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import ServingError
from inferd.wire.status import code_of

_NO_FLAGS = 0


class QueuedStreamCall:
    """Sends one message at a time, as the C core demands, and keeps the others in order."""

    def __init__(self, event: Any, method: str, record: CallRecord) -> None:
        """`event` announces the call; messages come when they are asked for."""
        self._arrived = monotonic()
        self._record = record
        self.method = method
        self.metadata: Metadata = event.invocation_metadata
        self.deadline = monotonic_deadline(event.call_details.deadline)
        self.on_cancel: Callable[[], None] | None = None
        self.on_sent: Callable[[], None] | None = None
        self._call = event.call
        self._lock = threading.Lock()
        self._outbox: deque[bytes] = deque()
        self._status: Any = None
        self._sending = False
        self._started = False
        self._over = False
        self._call.start_server_batch(
            (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_close
        )

    def peer(self) -> str:
        """Who calls, as gRPC has it."""
        found: str = self._call.peer().decode(errors="replace")
        return found

    def receive(self, on_message: Callable[[bytes | None], None]) -> None:
        """Ask for the caller's next message; None says that it has sent its last."""

        def arrived(event: Any) -> None:
            if self._over:
                return  # the caller is gone: nobody waits for an answer
            try:
                on_message(event.batch_operations[0].message())
            except ServingError as error:
                self.fail(error)
            except Exception as error:  # the last resort: a fault of ours never stops the door
                self.fail(unexpected(error, self.method))

        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), arrived)

    def send(self, payload: bytes) -> None:
        """Send a message after those sent before; after the end of the call it is dropped."""
        with self._lock:
            if not self._over and self._status is None:
                self._outbox.append(payload)
                self._advance()

    def finish(self) -> None:
        """End the call well, after everything sent."""
        self._end(
            cygrpc.SendStatusFromServerOperation((), cygrpc.StatusCode.ok, b"", _NO_FLAGS), None
        )

    def fail(self, error: ServingError) -> None:
        """End the call with an error, after everything sent."""
        self._end(status_operation(error), error)

    def _end(self, status: Any, error: ServingError | None) -> None:
        with self._lock:
            if self._over or self._status is not None:
                return
            self._status = status
            seconds = monotonic() - self._arrived
            if error is None:  # before it goes out: whoever has the end finds it counted
                self._record.answered(seconds)
            else:
                self._record.failed(seconds, code_of(error).name)
            self._advance()

    def _advance(self) -> None:
        """With the lock held: hand the core what comes next, if it is done with the last."""
        if self._sending:
            return
        operations: list[Any] = []
        if not self._started:
            operations.append(cygrpc.SendInitialMetadataOperation((), _NO_FLAGS))
        if self._outbox:
            operations.append(cygrpc.SendMessageOperation(self._outbox.popleft(), _NO_FLAGS))
        elif self._status is not None:
            operations.append(self._status)
            self._over = True
        else:
            return
        self._started = self._sending = True
        self._call.start_server_batch(tuple(operations), ignore if self._over else self._on_sent)

    def _on_sent(self, event: Any) -> None:
        with self._lock:
            self._sending = False
            if not self._over:
                self._advance()
        if self.on_sent is not None:
            self.on_sent()

    def _on_close(self, event: Any) -> None:
        with self._lock:
            unanswered = self._status is None
            self._over = True
            self._outbox.clear()
        if unanswered:
            now = monotonic()
            self._record.left(now - self._arrived, self.deadline, now)
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None and event.batch_operations[0].cancelled():
            on_cancel()
