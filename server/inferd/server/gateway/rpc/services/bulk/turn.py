"""One chunk of a bulk stream until it is answered."""

from __future__ import annotations

from typing import Protocol

from inferd.protos.v1.bulk_pb2 import Error
from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.rpc.services.leaving import Leaving
from inferd.wire.bulk import ERROR, WHOLE
from inferd.wire.errors import ServingError
from inferd.wire.status import code_of, message_of


class Settling(Protocol):
    """The stream, as its chunks see it."""

    method: str
    metadata: Metadata

    def settle(self, turn: Turn, number: int, body: bytes) -> None:
        """An answer has come, a field of this number."""

    def forget_late(self, turn: Turn) -> None:
        """Forget a chunk of a caller that had gone before anybody asked."""


class Turn(Leaving):
    """One chunk, to the dataplane a call like any other. `answer` has a field's number and body."""

    __slots__ = ("_stream", "answer", "deadline", "nbytes", "payload",
                 "sent_bytes", "sequence")  # fmt: skip

    def __init__(
        self, stream: Settling, sequence: int, payload: bytes, sent_bytes: int, deadline: float
    ) -> None:
        """`sent_bytes` are those of its request as it was sent."""
        super().__init__()
        self._stream = stream
        self.sequence = sequence
        self.payload = payload
        self.sent_bytes = sent_bytes
        self.nbytes = len(payload)
        self.deadline = deadline
        self.answer: tuple[int, bytes] | None = None

    @property
    def method(self) -> str:
        """The path of the stream's method."""
        return self._stream.method

    @property
    def metadata(self) -> Metadata:
        """What the caller sent with the stream."""
        return self._stream.metadata

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""
        self._on_cancel = None
        self.payload = b""
        self._stream.settle(self, WHOLE, payload)

    def fail(self, error: ServingError) -> None:
        """Answer with an error; the stream goes on."""
        self._on_cancel = None
        self.payload = b""
        told = Error(
            code=code_of(error).value[0],
            message=message_of(error),
            reason=error.reason,
            field=error.field or "",
            retry_after=error.retry_after or 0.0,
            metadata=error.metadata,
        )
        self._stream.settle(self, ERROR, told.SerializeToString())

    def _forget_late(self) -> None:
        self._stream.forget_late(self)
