"""ModelStreamInfer: many requests on one call, answered in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from inferd.protos.oip_pb2 import ModelInferResponse, ModelStreamInferResponse
from inferd.server.gateway.dataplane import InferCall
from inferd.server.gateway.rpc.call import StreamCall
from inferd.server.gateway.rpc.faults import unexpected
from inferd.wire.answers import varint
from inferd.wire.errors import Draining, InvalidRequest, ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.status import message_of

MOST_UNANSWERED = 128
"""Requests of one stream that are read before the answers to the first of them have left.

Enough for several batches; it bounds what a caller that sends and does not read can fill.
"""

MOST_UNANSWERED_BYTES = 32 << 20
"""The same in bytes, for large requests; one is always read."""

_ANSWER_TAG = b"\x12"  # field 2 of ModelStreamInferResponse, length-delimited

Infer = Callable[[InferCall], None]


class InferenceStreams:
    """Every stream under way. Safe from any thread."""

    def __init__(self, infer: Infer) -> None:
        """`infer` sees to it that a request is answered, once, as if it had come alone."""
        self._infer = infer
        self._lock = threading.Lock()
        self._open: set[InferenceStream] = set()
        self._closed = False

    def handle(self, call: StreamCall) -> None:
        """Take a new stream."""
        stream = InferenceStream(call, self._infer, self._leave)
        with self._lock:
            closed = self._closed
            if not closed:
                self._open.add(stream)
        if closed:
            call.fail(_draining())
        else:
            stream.start()

    def close(self) -> None:
        """Read no more requests, and end each stream after the answers that it is owed.

        Streams last as long as their callers like, and a drain would with them.
        """
        with self._lock:
            self._closed = True
            streams = list(self._open)
        for each in streams:
            each.end(_draining())

    def _leave(self, stream: InferenceStream) -> None:
        with self._lock:
            self._open.discard(stream)


class InferenceStream:
    """One stream: reads requests while few enough are unanswered, and sends answers in turn.

    The door's thread reads; answers come from any thread.
    """

    def __init__(
        self, call: StreamCall, infer: Infer, left: Callable[[InferenceStream], None]
    ) -> None:
        """`left` is told when the stream has ended, well or not."""
        self._call = call
        self._infer = infer
        self._left = left
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque()
        self._unanswered: deque[int] = deque()  # their sizes
        self._unanswered_bytes = 0
        self._waiting = False
        self._ending = False
        self._over = False
        self._error: ServingError | None = None

    def start(self) -> None:
        """Begin to read."""
        self._call.on_cancel = self._cancelled
        self._call.on_sent = self._sent
        self._call.receive(self._received)

    def end(self, error: ServingError | None) -> None:
        """Take no more requests; after the last answer end with the error, or well."""
        with self._lock:
            if not self._ending:
                self._ending = True
                self._error = error
                self._end_if_due()

    def settle(self) -> None:
        """An answer has come: send those whose turn it is."""
        with self._lock:
            turns = self._turns
            while turns and turns[0].answer is not None:
                self._call.send(turns[0].answer)
                turns.popleft()
            self._end_if_due()

    @property
    def _full(self) -> bool:
        return (
            len(self._unanswered) >= MOST_UNANSWERED
            or self._unanswered_bytes >= MOST_UNANSWERED_BYTES
        )

    def _received(self, payload: bytes | None) -> None:
        if payload is None:
            self.end(None)
            return
        turn = _Turn(self, payload, self._call.deadline)
        with self._lock:
            if self._ending:
                return
            self._turns.append(turn)
            self._unanswered.append(len(payload))
            self._unanswered_bytes += len(payload)
        try:
            self._infer(turn)
        except Exception as error:  # the last resort: the stream's other requests go on
            turn.fail(unexpected(error, self._call.method))
        with self._lock:
            self._waiting = self._full
            if self._waiting:
                return
        self._call.receive(self._received)

    def _sent(self) -> None:
        with self._lock:
            self._unanswered_bytes -= self._unanswered.popleft()
            if not self._waiting or self._full:
                return
            self._waiting = False
        self._call.receive(self._received)

    def _cancelled(self) -> None:
        with self._lock:
            self._ending = self._over = True
            turns, self._turns = self._turns, deque()
        for turn in turns:
            turn.forget()
        self._left(self)

    def _end_if_due(self) -> None:
        """With the lock held."""
        if not self._ending or self._over or self._turns:
            return
        self._over = True
        if self._error is None:
            self._call.finish()
        else:
            self._call.fail(self._error)
        self._left(self)


class _Turn:
    """One request of a stream, to the dataplane a call like any other."""

    __slots__ = ("_on_cancel", "_stream", "answer", "deadline", "payload")

    def __init__(self, stream: InferenceStream, payload: bytes, deadline: float) -> None:
        self._stream = stream
        self.payload = payload
        self.deadline = deadline
        self.answer: bytes | None = None
        self._on_cancel: Callable[[], None] | None = None

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller leaves the stream with this request unanswered."""
        self._on_cancel = on_cancel

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""
        self._on_cancel = None
        self.answer = b"".join((_ANSWER_TAG, varint(len(payload)), payload))
        self._stream.settle()

    def fail(self, error: ServingError) -> None:
        """Answer with an error, in its turn; the stream goes on."""
        self._on_cancel = None
        self.answer = ModelStreamInferResponse(
            error_message=message_of(error),
            infer_response=ModelInferResponse(id=_id_of(self.payload)),
        ).SerializeToString()
        self._stream.settle()

    def forget(self) -> None:
        """The caller is gone."""
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None:
            on_cancel()


def _id_of(payload: bytes) -> str:
    """The request's id, so that the caller knows which one failed; empty where it has none."""
    try:
        return InferMessage(payload).id
    except InvalidRequest:
        return ""


def _draining() -> Draining:
    return Draining("the server is shutting down; open a stream to another one")
