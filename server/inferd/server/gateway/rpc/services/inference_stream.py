"""ModelStreamInfer: many requests on one call, answered in their order, or as generators yield."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.rpc.call import StreamCall
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.services.leaving import Aside
from inferd.server.gateway.rpc.services.stream_turn import Turn, TurnKeeper
from inferd.wire.errors import Draining, ServingError

MOST_UNANSWERED = 128
"""Requests of one stream that are read before the answers to the first of them have left.

Enough for several batches; it bounds what a caller that sends and does not read can fill.
"""

MOST_UNANSWERED_BYTES = 32 << 20
"""The same in bytes: requests until they are answered, answers until they have left; one request
is always read. Those to come are taken to be as large as the last."""

MOST_AHEAD = 4
"""Answers of one generator that may be on their way when it takes its next step."""

TRUE_ERRORS = ("triton_grpc_error", "true")
"""Metadata of a caller that wants the first failure to end its stream with a true gRPC status."""

Infer = Callable[[InferCall], None]


class InferenceStreams:
    """Every stream under way. Safe from any thread."""

    def __init__(self, infer_of: Callable[[StreamCall], Infer]) -> None:
        """What it has of a stream sees to it that a request is answered, as if it had come alone."""
        self._infer_of = infer_of
        self._lock = threading.Lock()
        self._open: set[InferenceStream] = set()
        self._closed = False
        self._aside = Aside("left-streams", "ModelStreamInfer")

    def handle(self, call: StreamCall) -> None:
        """Take a new stream."""
        stream = InferenceStream(call, self._infer_of(call), self._leave, self._aside.later)
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


class InferenceStream(TurnKeeper):
    """One stream: reads requests while few enough are unanswered, and sends what answers them.

    Requests with one answer are answered in their order, others whenever they have an answer. The
    door's thread reads; answers come from any thread.
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
        self._call, self.method, self.metadata = call, call.method, call.metadata
        self._infer = infer
        self._left = left
        self._later = later
        self._true_errors = TRUE_ERRORS in [(key, value) for key, value in call.metadata]
        self._lock = threading.Lock()
        self._turns: deque[Turn] = deque()  # in order, whose answers are not handed over yet
        self._decoupled: dict[Turn, None] = {}  # those that may have more answers, oldest first
        self._stalled: list[Turn] = []  # of those the ones that wait for their answers to leave
        self._leaving: deque[tuple[Turn, int]] = deque()  # answers handed over, and their sizes
        self._leaving_bytes = 0
        self._unanswered = 0  # requests whose last answers have not left yet
        self._unanswered_bytes = 0
        self._awaited = 0  # requests whose last answers are still to come
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

    def settle(self, turn: Turn, answer: bytes, error: ServingError | None = None) -> None:
        """An answer has come: send those whose turn it is."""
        with self._lock:
            if turn.answer_bytes is not None or self._over:
                return
            turn.answer_bytes = answer
            turn.error = error
            turn.ended = True
            self._awaited -= 1
            self._unanswered_bytes += len(answer) - turn.nbytes
            turn.nbytes = 0
            turns = self._turns
            while turns and turns[0].answer_bytes is not None:
                first = turns[0]
                if first.error is not None and self._true_errors:
                    self._break_off(first.error)
                    return
                self._hand_over(first, turns.popleft().answer_bytes or b"")
            self._end_if_due()

    def begin(self, turn: Turn) -> None:
        """A request has many answers: it stands in nobody's way, and nobody in its."""
        with self._lock:
            if turn.decoupled or self._over:
                return
            turn.decoupled = True
            self._turns.remove(turn)
            self._decoupled[turn] = None

    def pass_on(self, turn: Turn, answer: bytes) -> bool:
        """Send one of many answers; whether the next one may be made at once."""
        with self._lock:
            if turn.ended or self._over:
                return False
            self._unanswered_bytes += len(answer)
            self._hand_over(turn, answer)
            if self._has_room(turn):
                return True
            self._stalled.append(turn)
            return False

    def close(self, turn: Turn, answer: bytes | None, error: ServingError | None = None) -> None:
        """Many answers end, with a last one or without."""
        with self._lock:
            if turn.ended or self._over:
                return
            turn.ended = True
            self._decoupled.pop(turn, None)
            if turn in self._stalled:
                self._stalled.remove(turn)
            self._awaited -= 1
            self._unanswered_bytes -= turn.nbytes
            if error is not None and self._true_errors:
                self._break_off(error)
                return
            if answer is not None:
                self._unanswered_bytes += len(answer)
                self._hand_over(turn, answer)
            if not turn.leaving:
                self._unanswered -= 1
            self._end_if_due()
            reads_on = self._may_read_on()
        if reads_on:
            self._call.receive(self._received)

    def forget_late(self, turn: Turn) -> None:
        """Forget a request of a caller that had gone before anybody asked."""
        self._later(turn.forget)

    @property
    def _full(self) -> bool:
        expected = self._awaited * self._last_answer_bytes
        return (
            self._unanswered >= MOST_UNANSWERED
            or self._unanswered_bytes + expected >= MOST_UNANSWERED_BYTES
        )

    def _has_room(self, turn: Turn) -> bool:
        """Whether a generator may take a step: its answers leave, and those of others, too."""
        if not self._leaving:
            return True
        under_way = len(self._decoupled) - len(self._stalled)
        expected = under_way * self._last_answer_bytes
        return turn.leaving < MOST_AHEAD and self._leaving_bytes + expected < MOST_UNANSWERED_BYTES

    def _hand_over(self, turn: Turn, answer: bytes) -> None:
        turn.leaving += 1
        self._last_answer_bytes = len(answer)
        self._leaving.append((turn, len(answer)))
        self._leaving_bytes += len(answer)
        self._call.send(answer)

    def _received(self, payload: bytes | None) -> None:
        if payload is None:
            self.end(None)
            return
        turn = Turn(self, payload, self._call.deadline)
        with self._lock:
            if self._ending:
                return
            self._turns.append(turn)
            self._unanswered += 1
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
            turn, nbytes = self._leaving.popleft()
            self._leaving_bytes -= nbytes
            self._unanswered_bytes -= nbytes
            turn.leaving -= 1
            if turn.ended and not turn.leaving:
                self._unanswered -= 1
            going = self._take_stalled() if self._stalled else ()
            reads_on = self._may_read_on()
        for each in going:
            each.proceed()
        if reads_on:
            self._call.receive(self._received)

    def _take_stalled(self) -> list[Turn]:
        """With the lock held: the generators that have room again."""
        going = []
        for each in list(self._stalled):
            if self._has_room(each):
                self._stalled.remove(each)
                going.append(each)
        return going

    def _may_read_on(self) -> bool:
        """With the lock held: whether reading was to wait and need not any more."""
        if not self._waiting or self._full:
            return False
        self._waiting = False
        return True

    def _cancelled(self) -> None:
        with self._lock:
            self._ending = self._over = True
            turns = self._take_all()
        for turn in turns:
            turn.forget()
        self._left(self)

    def _break_off(self, error: ServingError) -> None:
        """With the lock held: end with this error now; what is under way is of no use."""
        self._ending = self._over = True
        self._call.fail(error)
        for turn in self._take_all():
            self._later(turn.forget)
        self._left(self)

    def _take_all(self) -> list[Turn]:
        # The youngest first: what waits must not be started because an older one ends.
        turns = [*reversed(self._turns), *reversed(self._decoupled)]
        self._turns.clear()
        self._decoupled.clear()
        self._stalled.clear()
        return turns

    def _end_if_due(self) -> None:
        """With the lock held."""
        if not self._ending or self._over or self._turns or self._decoupled:
            return
        self._over = True
        if self._error is None:
            self._call.finish()
        else:
            self._call.fail(self._error)
        self._left(self)


def _draining() -> Draining:
    return Draining("the server is shutting down; open a stream to another one")
