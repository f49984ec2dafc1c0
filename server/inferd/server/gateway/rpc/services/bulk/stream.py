"""One stream of a bulk job: chunks against credit, answers that give it back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError

from inferd.protos.v1.bulk_pb2 import ORDER_OF_ENDING, BulkResponse, Credit, Open, Opened
from inferd.server.gateway.access_log import AccessLog
from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.rpc.access import logged_on
from inferd.server.gateway.rpc.call import StreamCall
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.services.bulk.job import Job
from inferd.server.gateway.rpc.services.bulk.large import LargeChunks
from inferd.server.gateway.rpc.services.bulk.turn import Turn
from inferd.server.gateway.rpc.services.decoding import decode
from inferd.wire.bulk import Content, answer_steps, read_step
from inferd.wire.errors import InvalidRequest, ServingError
from inferd.wire.tensors import Buffer

MOST_CHUNKS = 32
"""Chunks of one stream that are read before the answers to the first of them have left."""

MOST_BYTES = 32 << 20
"""The same in bytes: requests until they are answered, answers until they have left. One chunk is
always read. Answers still to come are taken to be as large as the last."""

PART_BYTES = 1 << 20
"""A larger answer leaves in parts: copying it at once would hold up everybody else."""

Infer = Callable[[InferCall], None]


class BulkStream:
    """Reads chunks while few enough are unanswered, and sends answers in turn or as they come.

    The door's thread reads; answers come from any thread.
    """

    def __init__(
        self,
        call: StreamCall,
        *,
        infer: Infer,
        access: AccessLog | None,
        begin: Callable[[Open], Job],
        left: Callable[[BulkStream], None],
        later: Callable[[Callable[[], None]], None],
        large: LargeChunks,
        max_chunk_bytes: int,
    ) -> None:
        """`begin` says what the stream is opened for; `left` is told when it has ended.

        Chunks of more than `MOST_BYTES` are read on with a place among the `large` ones. `later` has
        something done on another thread, when whoever asks for it has let go of its locks. `access`
        logs chunks.
        """
        self._call = call
        self.method, self.metadata = call.method, call.metadata
        self._infer = infer
        self._execute = logged_on(call, call.method.removeprefix("/"), self._check, access)
        self._begin = begin
        self._left = left
        self._later = later
        self._large = large
        self._has_place = False  # among the large ones, or it waits for one
        self._large_turn: Turn | None = None
        self._max_chunk_bytes = max_chunk_bytes
        self._job: Job | None = None
        self._partial: bytearray | None = None
        self._lock = threading.Lock()
        self._turns: deque[Turn] = deque()  # whose answers are not handed to the call yet
        self._under_way: dict[int, Turn] = {}
        self._leaving: deque[int] = deque()  # bytes of each message on its way out, -1: the last
        self._held = 0  # chunks whose answers have not left yet
        self._held_bytes = 0
        self._last_answer_bytes = 0
        self._waiting = False
        self._ending = False
        self._over = False
        self._error: ServingError | None = None

    def start(self) -> None:
        """Begin to read."""
        self._call.on_cancel = self._cancelled
        self._call.on_sent = self._sent
        self._call.receive(self._opened)

    def end(self, error: ServingError | None) -> None:
        """Take no more chunks; after the last answer end with the error, or well."""
        with self._lock:
            if not self._ending:
                self._ending = True
                self._error = error
                self._end_if_due()

    def settle(self, turn: Turn, number: int, body: bytes) -> None:
        """An answer has come, a field of this number: send what is due."""
        with self._lock:
            if self._under_way.pop(turn.sequence, None) is not turn:
                return
            turn.answer = (number, body)
            self._last_answer_bytes = len(body)
            self._held_bytes += len(body) - turn.nbytes
            if self._job is not None and self._job.order == ORDER_OF_ENDING:
                self._turns.remove(turn)
                self._send(turn)
            while self._turns and self._turns[0].answer is not None:
                self._send(self._turns.popleft())
            self._end_if_due()
            if turn is self._large_turn:
                self._large_turn, self._has_place = None, False
                self._large.leave(self)

    def forget_late(self, turn: Turn) -> None:
        """Forget a chunk of a caller that had gone before anybody asked."""
        self._later(turn.forget)

    @property
    def _full(self) -> bool:
        expected = len(self._under_way) * self._last_answer_bytes
        return self._held >= MOST_CHUNKS or self._held_bytes + expected >= MOST_BYTES

    def _opened(self, payload: bytes | None) -> None:
        if payload is None:
            self.end(InvalidRequest("the stream ended without a message", reason="NO_MESSAGE"))
            return
        try:
            opening = _read(payload)
            if isinstance(opening, Content):
                raise InvalidRequest("the first message is a chunk, expected open", field="step")
            job = self._job = self._begin(decode(Open, opening))
        except ServingError as error:
            self.end(error)
            return
        answer = Opened(
            resume_token=job.token,
            model_version=job.version,
            credit=Credit(chunks=MOST_CHUNKS, bytes=MOST_BYTES),
            part_bytes=PART_BYTES,
            request_bytes=self._max_chunk_bytes,
        )
        with self._lock:
            self._leaving.append(0)
            self._call.send(BulkResponse(opened=answer).SerializeToString())
        self._call.receive(self._received)

    def _received(self, payload: bytes | None) -> None:
        if payload is None:
            torn = InvalidRequest("the stream ended amid the parts of a chunk", field="chunk.part")
            self.end(torn if self._partial is not None else None)
            return
        try:
            chunk = self._assemble(payload)
        except ServingError as error:
            self.end(error)
            return
        if chunk is not None:
            self._take(*chunk)
        elif self._must_wait():
            return
        self._read_on()

    def _read_on(self) -> None:
        """Read the next message, unless enough is under way."""
        with self._lock:
            self._waiting = self._full and self._partial is None
            if self._waiting or self._ending:
                return
        self._call.receive(self._received)

    def _must_wait(self) -> bool:
        """Whether a chunk grows beyond the stream's credit and has no place among the large ones yet."""
        with self._lock:
            if self._has_place or self._partial is None or len(self._partial) <= MOST_BYTES:
                return False
            if self._over:  # it has given up its place
                return True
            self._has_place = True  # when it is read on, which it is not before
            return not self._large.enter(self, partial(self._later, self._read_on))

    def _assemble(self, payload: bytes) -> tuple[int, Buffer] | None:
        """A whole chunk's sequence and request; None while parts are missing."""
        content = _read(payload)
        if not isinstance(content, Content):
            raise InvalidRequest("open came twice; a stream is one job", field="step")
        if content.whole:
            if self._partial is not None:
                raise InvalidRequest("a chunk came amid the parts of another", field="chunk")
            return content.sequence, content.data
        if self._partial is None:
            self._partial = bytearray()
        # Copied together at once: views would keep whole messages, however little of them is data.
        self._partial += content.data
        if len(self._partial) > self._max_chunk_bytes:
            raise InvalidRequest(
                f"chunk {content.sequence} has more than the {self._max_chunk_bytes} bytes that "
                "one request may have; send fewer rows in each",
                reason="TENSOR_TOO_LARGE",
                field="chunk.part",
            )
        if not content.last:
            return None
        whole, self._partial = self._partial, None
        return content.sequence, memoryview(whole)

    def _take(self, sequence: int, request: Buffer) -> None:
        job = self._job
        assert job is not None
        turn = Turn(self, sequence, job.complete(request), len(request), self._call.deadline)
        with self._lock:
            if self._ending:
                return
            known = sequence in self._under_way
            if not known and sequence >= job.position:
                self._turns.append(turn)
                self._under_way[sequence] = turn
                self._held += 1
                self._held_bytes += turn.nbytes
                if self._has_place:
                    self._large_turn = turn
        if known or sequence < job.position:
            what = "is under way already" if known else f"lies below position {job.position}"
            self.end(InvalidRequest(f"chunk {sequence} {what}", field="chunk.sequence"))
            return
        try:
            self._execute(turn)
        except ServingError as error:
            turn.fail(error)
        except Exception as error:  # the last resort: the job's other chunks go on
            turn.fail(unexpected(error, self._call.method))

    def _check(self, call: InferCall) -> None:
        """Execute a chunk, if it is one of this job."""
        assert self._job is not None
        self._job.check(call.payload)
        self._infer(call)

    def _send(self, turn: Turn) -> None:
        """With the lock held."""
        assert turn.answer is not None
        number, body = turn.answer
        turn.answer = None
        steps = answer_steps(turn.sequence, number, body, PART_BYTES, (1, turn.sent_bytes))
        # Of several messages the last one takes the whole answer's bytes off.
        self._leaving.extend([-1] * (len(steps) - 1))
        self._leaving.append(len(body))
        for each in steps:
            self._call.send(each)

    def _sent(self) -> None:
        with self._lock:
            nbytes = self._leaving.popleft()
            if nbytes > 0:
                self._held -= 1
                self._held_bytes -= nbytes
            if not self._waiting or self._full:
                return
            self._waiting = False
        self._call.receive(self._received)

    def _cancelled(self) -> None:
        with self._lock:
            self._ending = self._over = True
            turns, self._turns = self._turns, deque()
            self._under_way.clear()
            self._large.leave(self)
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
        self._large.leave(self)
        self._left(self)


def _read(payload: bytes) -> Content | bytes:
    try:
        return read_step(payload, answers=False)
    except DecodeError as error:
        raise InvalidRequest(
            f"the {len(payload)} bytes received are not an inferd.v1.BulkRequest",
            reason="MALFORMED_MESSAGE",
        ) from error
