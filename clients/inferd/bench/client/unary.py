"""ModelInfer on grpcio's core: one batch of operations and one event per request."""

from __future__ import annotations

from time import time
from typing import Any

from inferd.bench.client.core import NO_FLAGS, cygrpc, next_event, open_channel
from inferd.bench.client.transport import OK, Answer, TransportClosed
from inferd.protos.services import INFERENCE_METHODS

_PATH = INFERENCE_METHODS["ModelInfer"].path.encode()
_LIVE_PATH = INFERENCE_METHODS["ServerLive"].path.encode()
_STATUS = 5  # place of the status in a call's batch
_UNANSWERED = (4, 14)  # deadline exceeded, unavailable


class CoreUnary:
    """A `Transport`: no object per call but grpcio's own."""

    def __init__(self, address: str, payload: bytes) -> None:
        self._channel = open_channel(address)
        self._payload = payload
        self._timeout = 0.0

    def reach(self, timeout: float) -> str | None:
        """See `Transport.reach`."""
        return reach(self._channel, timeout)

    def start(self, timeout: float, until: float) -> None:
        """See `Transport.start`."""
        self._timeout = timeout

    def send(self, tag: float) -> None:
        """See `Transport.send`."""
        call(self._channel, _PATH, self._payload, time() + self._timeout, tag)

    def take(self) -> Answer:
        """See `Transport.take`."""
        event = next_event(self._channel)
        status = event.batch_operations[_STATUS]
        code: int = status.code()
        return Answer(event.tag, code, "" if code == OK else status.details() or "")

    def finish(self) -> None:
        """See `Transport.finish`."""

    def cancel(self) -> None:
        """See `Transport.cancel`."""
        self._channel.close(cygrpc.StatusCode.cancelled, "the run was stopped")


def call(channel: Any, path: bytes, payload: bytes, deadline: float, tag: object) -> None:
    """Start a unary call; its end is one event with this tag. `deadline` in seconds of `time()`."""
    operations = (  # fresh objects each time: they own memory of the C core
        cygrpc.SendInitialMetadataOperation((), NO_FLAGS),
        cygrpc.SendMessageOperation(payload, NO_FLAGS),
        cygrpc.SendCloseFromClientOperation(NO_FLAGS),
        cygrpc.ReceiveInitialMetadataOperation(NO_FLAGS),
        cygrpc.ReceiveMessageOperation(NO_FLAGS),
        cygrpc.ReceiveStatusOnClientOperation(NO_FLAGS),
    )
    try:
        channel.integrated_call(
            NO_FLAGS, path, None, deadline, (), None, ((operations, tag),), None
        )
    except ValueError as error:  # what the core raises on a closed channel
        raise TransportClosed from error


def reach(channel: Any, timeout: float) -> str | None:
    """See `Transport.reach`: any answer will do, even that the method is unknown."""
    call(channel, _LIVE_PATH, b"", time() + timeout, None)
    status = next_event(channel).batch_operations[_STATUS]
    return str(status.details()) if status.code() in _UNANSWERED else None
