"""One request of a stream: to the dataplane a call like any other, or one with many answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from inferd.protos.oip_pb2 import ModelInferResponse, ModelStreamInferResponse
from inferd.server.gateway.decoupled import DecoupledCall
from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.rpc.services.leaving import Leaving
from inferd.wire.answers import varint
from inferd.wire.errors import InvalidRequest, ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.status import message_of

_ANSWER_TAG = b"\x12"  # field 2 of ModelStreamInferResponse, length-delimited

FINAL_RESPONSE = "triton_final_response"
"""Parameter of every answer on a stream: whether it is the last one to its request."""


def _mark(*, final: bool) -> bytes:
    response = ModelInferResponse()
    response.parameters[FINAL_RESPONSE].bool_param = final
    return response.SerializeToString()


_FINAL, _NOT_FINAL = _mark(final=True), _mark(final=False)


class TurnKeeper(ABC):
    """What a turn needs of its stream. Safe from any thread."""

    method: str
    metadata: Metadata

    @abstractmethod
    def settle(self, turn: Turn, answer: bytes, error: ServingError | None = None) -> None:
        """The one answer, or the error, of a request whose answer has its place."""

    @abstractmethod
    def begin(self, turn: Turn) -> None:
        """A request turns out to have many answers, which have no place."""

    @abstractmethod
    def pass_on(self, turn: Turn, answer: bytes) -> bool:
        """One of many answers; whether the next one may be made at once."""

    @abstractmethod
    def close(self, turn: Turn, answer: bytes | None, error: ServingError | None = None) -> None:
        """The last of many answers, an error or nothing more."""

    @abstractmethod
    def forget_late(self, turn: Turn) -> None:
        """Call `turn.forget` when whoever calls this has let go of its locks."""


class Turn(Leaving, DecoupledCall):
    """One request of a stream.

    `nbytes` is what it holds: its payload's size, once its one answer waits that one's size.
    `leaving` counts its answers that are handed over and have not left.
    """

    __slots__ = (
        "_keeper",
        "_proceed",
        "answer_bytes",
        "deadline",
        "decoupled",
        "ended",
        "error",
        "leaving",
        "nbytes",
        "payload",
    )

    def __init__(self, keeper: TurnKeeper, payload: bytes, deadline: float) -> None:
        super().__init__()
        self._keeper = keeper
        self.payload = payload
        self.nbytes = len(payload)
        self.deadline = deadline
        self.answer_bytes: bytes | None = None
        self.error: ServingError | None = None
        self.decoupled = False
        self.ended = False
        self.leaving = 0
        self._proceed: Callable[[], None] | None = None

    @property
    def method(self) -> str:
        """The path of the stream's method."""
        return self._keeper.method

    @property
    def metadata(self) -> Metadata:
        """What the caller sent with the stream."""
        return self._keeper.metadata

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""
        self._on_cancel = None
        self.payload = b""
        self._keeper.settle(self, _enveloped(payload, _FINAL))

    def begin(self, proceed: Callable[[], None]) -> None:
        """Be ready for many answers, whenever they come."""
        self._proceed = proceed
        self._keeper.begin(self)

    def answer(self, payload: bytes) -> bool:
        """Send one answer that others follow; whether the next may be made at once."""
        return self._keeper.pass_on(self, _enveloped(payload, _NOT_FINAL))

    def end(self, payload: bytes | None) -> None:
        """Send the last answer, or none: it was the one before."""
        self._on_cancel = None
        self.payload = b""
        self._keeper.close(self, None if payload is None else _enveloped(payload, _FINAL))

    def fail(self, error: ServingError) -> None:
        """Answer with an error, in its turn if its answer has one; the stream goes on."""
        self._on_cancel = None
        answer = _error_message(self.payload, error)
        self.payload = b""
        if self.decoupled:
            self._keeper.close(self, answer, error)
        else:
            self._keeper.settle(self, answer, error)

    def proceed(self) -> None:
        """Its answers are read again. Takes the dispatcher's lock."""
        if self._proceed is not None:
            self._proceed()

    def _forget_late(self) -> None:
        self._keeper.forget_late(self)


def _enveloped(payload: bytes, mark: bytes) -> bytes:
    """A ModelStreamInferResponse with a ModelInferResponse, to which the mark is appended."""
    return b"".join((_ANSWER_TAG, varint(len(payload) + len(mark)), payload, mark))


def _error_message(payload: bytes, error: ServingError) -> bytes:
    """The error, with the request's id so that the caller knows which one failed."""
    response = ModelInferResponse()
    try:
        message = InferMessage(payload)
    except InvalidRequest:
        pass
    else:
        response.id, response.model_name = message.id, message.model
        response.model_version = message.version
    response.parameters[FINAL_RESPONSE].bool_param = True
    answer = ModelStreamInferResponse(error_message=message_of(error), infer_response=response)
    return answer.SerializeToString()
