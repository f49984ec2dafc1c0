"""A bulk job as its client sees it: what to send, what has come, what is due. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from inferd.client.codec.calls import Call
from inferd.client.codec.status import error_in_place
from inferd.client.errors import (
    AnswerInvalid,
    InferenceError,
    ModelNotReady,
    ServerUnavailable,
    invalid,
)
from inferd.client.prediction import Prediction
from inferd.protos.v1.bulk_pb2 import (
    ORDER_OF_CHUNKS,
    ORDER_OF_ENDING,
    BulkRequest,
    Error,
    Open,
    Opened,
)
from inferd.wire.bulk import Content, parts_of_chunk, read_step, whole_chunk

MOST_ATTEMPTS = 5
"""Times that a chunk is sent whose worker dies over it, and again, before that is its answer."""

_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class BulkPosition:
    """Where a job stands: its token, and the number of the first item without an answer."""

    token: str
    index: int


class _Item:
    """One chunk from when it is drawn until its answer is handed on."""

    __slots__ = ("attempts", "call", "not_before", "result", "sent", "size")

    def __init__(self, call: Call[Prediction] | InferenceError) -> None:
        self.call = None if isinstance(call, InferenceError) else call
        self.size = 0 if isinstance(call, InferenceError) else len(call.request)
        self.result: object = call if isinstance(call, InferenceError) else None
        self.sent = False
        self.attempts = 0
        self.not_before = 0.0


class BulkJob:
    """Sends against credit, keeps each chunk until its answer is there, and never has one twice.

    Times are handed in, in monotonic seconds.
    """

    def __init__(
        self,
        model: str,
        version: str,
        *,
        ordered: bool,
        in_flight: int,
        patience: float,
        resume: BulkPosition | None,
        now: float,
    ) -> None:
        """`in_flight` items at most are drawn and not handed on; `patience` in seconds."""
        self._model = model
        self._version = version
        self._ordered = ordered
        self._in_flight = in_flight
        self._patience = patience
        self._token = resume.token if resume is not None else ""
        self._index = resume.index if resume is not None else 0
        """Number of the next item to be drawn."""
        self._items: dict[int, _Item] = {}
        self._unsent: deque[int] = deque()
        self._opened: Opened | None = None
        self._out_chunks = self._out_bytes = 0
        self._parts: list[bytes] = []
        self._progress = now
        self._failures = 0

    @property
    def position(self) -> BulkPosition:
        """Where another process may go on; exact where answers are handed on in order."""
        return BulkPosition(self._token, min(self._items, default=self._index))

    @property
    def wants(self) -> bool:
        """Whether another item may be drawn."""
        return len(self._items) < self._in_flight

    @property
    def idle(self) -> bool:
        """Whether all that was drawn has been handed on."""
        return not self._items

    @property
    def awaits(self) -> bool:
        """Whether nothing can be handed on before the server has sent something."""
        items = self._items.values()
        if self._ordered:
            return bool(items) and next(iter(items)).result is None
        return bool(items) and all(each.result is None for each in items)

    def add(self, call: Call[Prediction] | InferenceError) -> None:
        """Take the next item, or the error that stands in its place."""
        item = self._items[self._index] = _Item(call)
        if item.call is not None:
            self._unsent.append(self._index)
        self._index += 1

    def opening(self) -> bytes:
        """The first message of a stream; everything without an answer is sent anew on it."""
        self._opened = None
        self._parts = []
        self._out_chunks = self._out_bytes = 0
        waiting = [index for index, item in self._items.items() if item.result is None]
        self._unsent = deque(sorted(waiting))
        for index in waiting:
            self._items[index].sent = False
        opening = Open(
            model_name=self._model,
            model_version=self._version,
            order=ORDER_OF_CHUNKS if self._ordered else ORDER_OF_ENDING,
            resume_token=self._token,
            position=self.position.index if self._token else 0,
        )
        return BulkRequest(open=opening).SerializeToString()

    def outgoing(self, now: float) -> Iterator[bytes]:
        """The messages that may be sent now."""
        opened = self._opened
        while opened is not None and self._unsent:
            index = self._unsent[0]
            item = self._items[index]
            assert item.call is not None
            if item.not_before > now or not self._affords(opened, item):
                return
            self._unsent.popleft()
            if item.size > opened.request_bytes:
                item.result = _too_large(item.size, opened.request_bytes)
                continue
            item.sent = True
            self._out_chunks += 1
            self._out_bytes += item.size
            if item.size <= opened.part_bytes:
                yield whole_chunk(index, item.call.request)
            else:
                yield from parts_of_chunk(index, item.call.request, opened.part_bytes)

    def received(self, payload: bytes, now: float) -> None:
        """Take a message of the server's. Raises `AnswerInvalid` for what is none."""
        try:
            step = read_step(payload, answers=True)
            if isinstance(step, Content):
                self._answer(step, now)
            else:
                self._opened = Opened.FromString(step)
                self._token = self._opened.resume_token
                self._version = self._opened.model_version
        except DecodeError as error:
            raise AnswerInvalid(
                f"the {len(payload)} bytes received are no inferd.v1.BulkResponse"
            ) from error

    def due(self) -> Iterator[tuple[int, Any]]:
        """Numbers and answers, or errors, that may be handed on; each is handed on once."""
        for index, item in list(self._items.items()):
            if item.result is not None:
                del self._items[index]
                yield index, item.result
            elif self._ordered:
                return

    def broken(self, error: InferenceError, now: float) -> float:
        """The stream has ended: seconds until it is to be opened again.

        Raises the error where that would be of no use, or where nothing has come for too long.
        """
        if not isinstance(error, ServerUnavailable) or now - self._progress > self._patience:
            raise error
        self._opened = None
        self._failures += 1
        wait = min(_LONGEST_WAIT, _SHORTEST_WAIT * 2.0 ** min(self._failures - 1, 10))
        return max(wait, error.retry_after or 0.0)

    def next_event(self, now: float) -> float:
        """Seconds after which to look again if nothing comes."""
        due = self._progress + self._patience
        if self._opened is not None and self._unsent:
            due = min(due, max(now, self._items[self._unsent[0]].not_before))
        return max(0.0, due - now)

    def overdue(self, now: float) -> bool:
        """Whether nothing has come for too long."""
        return now - self._progress > self._patience

    def rest(self, now: float) -> None:
        """Nothing was expected until now: the caller was busy with answers, or with the source."""
        self._progress = now

    def _affords(self, opened: Opened, item: _Item) -> bool:
        credit = opened.credit
        return not self._out_chunks or (
            self._out_chunks < credit.chunks and self._out_bytes + item.size <= credit.bytes
        )

    def _answer(self, content: Content, now: float) -> None:
        self._progress = now
        self._failures = 0
        body = bytes(content.data)
        if not content.whole:
            self._parts.append(body)
            if not content.last:
                return
            body = b"".join(self._parts)
            self._parts = []
        item = self._items.get(content.sequence)
        if item is None or item.call is None or not item.sent:
            return  # its answer is there already
        self._out_chunks -= 1
        self._out_bytes -= item.size
        item.sent = False
        if content.error:
            self._failed(content.sequence, item, Error.FromString(body), now)
            return
        try:
            item.result = item.call.read(body)
        except InferenceError as error:
            item.result = error
        item.call = None

    def _failed(self, index: int, item: _Item, told: Error, now: float) -> None:
        assert item.call is not None
        error = error_in_place(told, item.call.inputs)
        item.attempts += not isinstance(error, ModelNotReady)
        if not isinstance(error, ServerUnavailable) or item.attempts >= MOST_ATTEMPTS:
            item.result = error
            item.call = None
            return
        item.not_before = now + max(_SHORTEST_WAIT, error.retry_after or 0.0)
        self._unsent.append(index)


def _too_large(size: int, most: int) -> InferenceError:
    return invalid(
        f"the item makes a request of {size} bytes, the server takes up to {most}; give fewer "
        "rows in each, or raise its max_message_bytes",
        reason="TENSOR_TOO_LARGE",
    )
