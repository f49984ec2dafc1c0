"""ModelStreamInfer: many requests on one call, answered in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
"""The same in bytes: requests until they are answered, answers until they have left; one request
is always read. Those to come are taken to be as large as the last."""

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
        # Starts its one thread when it is first needed, which is seldom.
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="left-streams")

    def handle(self, call: StreamCall) -> None:
        """Take a new stream."""
        stream = InferenceStream(call, self._infer, self._leave, self._later)
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

    def _later(self, act: Callable[[], None]) -> None:
        self._aside.submit(_perform, act)


class InferenceStream:
    """One stream: reads requests while few enough are unanswered, and sends answers in turn.

    The door's thread reads; answers come from any thread.
    """

    def __init__(
        self,
        call: StreamCall,
        infer: Infer,
        left: Callable[[InferenceStream], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """`left` is told when the stream has ended, well or not.

        `later` has something done on another thread, when whoever asks for it has let go of its
        locks.
        """
        self._call = call
        self._infer = infer
        self._left = left
        self._later = later
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque()  # whose answers are not handed to the call yet
        self._unanswered: deque[_Turn] = deque()  # whose answers have not left yet
        self._unanswered_bytes = 0
        self._awaited = 0  # requests whose answers are still to come
        self._last_answer_bytes = 0
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

    def settle(self, turn: _Turn, answer: bytes) -> None:
        """An answer has come: send those whose turn it is."""
        with self._lock:
            if turn.answer is not None:
                return
            turn.answer = answer
            self._awaited -= 1
            self._last_answer_bytes = len(answer)
            self._unanswered_bytes += len(answer) - turn.nbytes
            turn.nbytes = len(answer)
            turns = self._turns
            while turns and turns[0].answer is not None:
                self._call.send(turns[0].answer)
                turns.popleft()
            self._end_if_due()

    def forget_late(self, turn: _Turn) -> None:
        """Forget a request of a caller that had gone before anybody asked."""
        self._later(turn.forget)

    @property
    def _full(self) -> bool:
        expected = self._awaited * self._last_answer_bytes
        return (
            len(self._unanswered) >= MOST_UNANSWERED
            or self._unanswered_bytes + expected >= MOST_UNANSWERED_BYTES
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
            self._unanswered.append(turn)
            self._unanswered_bytes += turn.nbytes
            self._awaited += 1
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
            self._unanswered_bytes -= self._unanswered.popleft().nbytes
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
    """One request of a stream, to the dataplane a call like any other.

    `nbytes` is what it holds: its payload's size, once it is answered its answer's.
    """

    __slots__ = ("_gone", "_on_cancel", "_stream", "answer", "deadline", "nbytes", "payload")

    def __init__(self, stream: InferenceStream, payload: bytes, deadline: float) -> None:
        self._stream = stream
        self.payload = payload
        self.nbytes = len(payload)
        self.deadline = deadline
        self.answer: bytes | None = None
        self._gone = False
        self._on_cancel: Callable[[], None] | None = None

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller leaves, or has left, this request unanswered.

        Never before this returns, for it may take a lock that is held here.
        """
        self._on_cancel = on_cancel
        # Looked at after it is set: whichever thread comes second, here or in `forget`, sees both.
        if self._gone:
            self._stream.forget_late(self)

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""
        self._on_cancel = None
        self.payload = b""
        self._stream.settle(self, b"".join((_ANSWER_TAG, varint(len(payload)), payload)))

    def fail(self, error: ServingError) -> None:
        """Answer with an error, in its turn; the stream goes on."""
        self._on_cancel = None
        answer = ModelStreamInferResponse(
            error_message=message_of(error),
            infer_response=ModelInferResponse(id=_id_of(self.payload)),
        )
        self.payload = b""
        self._stream.settle(self, answer.SerializeToString())

    def forget(self) -> None:
        """The caller is gone."""
        self._gone = True
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None:
            on_cancel()


def _perform(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:  # the last resort: a future that nobody looks at would swallow it
        unexpected(error, "ModelStreamInfer")


def _id_of(payload: bytes) -> str:
    """The request's id, so that the caller knows which one failed; empty where it has none."""
    try:
        return InferMessage(payload).id
    except InvalidRequest:
        return ""


def _draining() -> Draining:
    return Draining("the server is shutting down; open a stream to another one")
