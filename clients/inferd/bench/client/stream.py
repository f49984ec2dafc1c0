"""ModelStreamInfer on grpcio's core: one stream per connection, requests told apart by their id."""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic, time
from typing import Any

from inferd.bench.client.core import NO_FLAGS, cygrpc, next_event, open_channel
from inferd.bench.client.messages import StreamPayload, read_answer
from inferd.bench.client.transport import OK, UNKNOWN, Answer, TransportClosed
from inferd.bench.client.unary import reach
from inferd.protos.services import INFERENCE_METHODS

_PATH = INFERENCE_METHODS["ModelStreamInfer"].path.encode()
_ENDED_EARLY = "the server ended the stream before the answer"

# What an event is about, beside the stream it belongs to.
_METADATA, _SENT, _RECEIVED, _STATUS = range(4)


class CoreStream:
    """A `Transport`. A stream that breaks fails its requests; the next one opens a new stream."""

    def __init__(self, address: str, payload: StreamPayload) -> None:
        self._channel = open_channel(address)
        self._payload = payload
        self._lock = Lock()  # one thread sends while another takes
        self._stream: _Stream | None = None
        self._ended: deque[Answer] = deque()
        self._timeout = 0.0
        self._until = 0.0
        self._cancelled = False

    def reach(self, timeout: float) -> str | None:
        """See `Transport.reach`."""
        return reach(self._channel, timeout)

    def start(self, timeout: float, until: float) -> None:
        """See `Transport.start`. The stream's deadline ends what is never answered."""
        self._timeout = timeout
        self._until = until

    def send(self, tag: float) -> None:
        """See `Transport.send`."""
        with self._lock:
            if self._cancelled:
                raise TransportClosed
            stream = self._stream
            if stream is None or stream.over:
                left = self._until + self._timeout - monotonic()
                stream = self._stream = _Stream(self._channel, time() + max(0.0, left))
            request_id = self._payload.take_id()
            stream.send(request_id, tag, self._payload.message(request_id))

    def take(self) -> Answer:
        """See `Transport.take`."""
        while not self._ended:
            self._handle(next_event(self._channel))
        return self._ended.popleft()

    def finish(self) -> None:
        """See `Transport.finish`: half-close, and wait for the server to end the stream."""
        with self._lock:
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.half_close()
        while stream is not None and not stream.over:
            self._handle(next_event(self._channel))

    def cancel(self) -> None:
        """See `Transport.cancel`. Closing the channel would wait for events that nobody takes."""
        with self._lock:
            self._cancelled = True
            if self._stream is not None:
                self._stream.cancel()

    def _handle(self, event: Any) -> None:
        what, stream = event.tag
        if what == _RECEIVED:
            message = event.batch_operations[0].message()
            if message is not None:
                self._receive(stream, message)
        elif what == _SENT:
            with self._lock:
                stream.sent()
        elif what == _STATUS:
            status = event.batch_operations[1]
            code: int = status.code()
            text = _ENDED_EARLY if code == OK else status.details() or ""
            with self._lock:
                unanswered = stream.end()
                self._payload.give_back(unanswered)
            self._ended += (Answer(tag, code or UNKNOWN, text) for tag in unanswered.values())

    def _receive(self, stream: _Stream, message: bytes) -> None:
        with self._lock:
            stream.receive()
            found = read_answer(message, stream.waiting, monotonic() - self._timeout)
            if found is None:
                return
            request_id, answer = found
            self._payload.give_back((request_id,))
        self._ended.append(answer)


class _Stream:
    """One call of ModelStreamInfer; its methods are called under the transport's lock."""

    def __init__(self, channel: Any, deadline: float) -> None:
        self.waiting: dict[str, float] = {}
        self.over = False
        self._unsent: deque[bytes] = deque()
        self._sending = False
        self._closing = False
        batches = (
            (
                (
                    cygrpc.SendInitialMetadataOperation((), NO_FLAGS),
                    cygrpc.ReceiveStatusOnClientOperation(NO_FLAGS),
                ),
                (_STATUS, self),
            ),
            ((cygrpc.ReceiveInitialMetadataOperation(NO_FLAGS),), (_METADATA, self)),
        )
        self._call = channel.integrated_call(
            NO_FLAGS, _PATH, None, deadline, (), None, batches, None
        )
        self.receive()

    def send(self, request_id: str, tag: float, message: bytes) -> None:
        """Send a message, behind those that wait for the connection's flow control."""
        self.waiting[request_id] = tag
        if self._sending:
            self._unsent.append(message)
        else:
            self._send(cygrpc.SendMessageOperation(message, NO_FLAGS))

    def sent(self) -> None:
        """A message is on its way: the next one may follow. gRPC takes one at a time."""
        self._sending = False
        if self._unsent:
            self._send(cygrpc.SendMessageOperation(self._unsent.popleft(), NO_FLAGS))
        elif self._closing:
            self._closing = False
            self._send(cygrpc.SendCloseFromClientOperation(NO_FLAGS))

    def receive(self) -> None:
        """Ask for the next message; after the stream's end this does nothing."""
        self._call.operate((cygrpc.ReceiveMessageOperation(NO_FLAGS),), (_RECEIVED, self))

    def half_close(self) -> None:
        """Tell the server that nothing follows, once everything is sent."""
        self._closing = True
        if not self._sending:
            self.sent()

    def cancel(self) -> None:
        """End it: its status follows soon."""
        self._call.cancel(cygrpc.StatusCode.cancelled, "the run was stopped")

    def end(self) -> dict[str, float]:
        """The stream has ended: the tags of what it leaves unanswered, by id."""
        self.over = True
        unanswered, self.waiting = self.waiting, {}
        self._unsent.clear()
        return unanswered

    def _send(self, operation: Any) -> None:
        # False after the stream's end: its status, which is still to come, ends what waits.
        self._sending = bool(self._call.operate((operation,), (_SENT, self)))
