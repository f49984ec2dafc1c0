"""Requests that are answered many times: what they ask of a call, and what they tell it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.scheduling.decoupled.pending import DecoupledPending
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.wire.answers import answer_head, assemble_answer
from inferd.wire.errors import ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.tensors import Buffer

UNARY_REFUSED = "ModelInfer RPC doesn't support models with decoupled transaction policy"
"""Triton's words, which its clients know."""


class DecoupledCall:
    """A call that can take many answers: a request of a stream. Safe from any thread.

    Abstract without `ABC`, with which `isinstance` costs several times as much: it is asked of calls
    of other kinds, too.
    """

    __slots__ = ()

    @abstractmethod
    def begin(self, proceed: Callable[[], None]) -> None:
        """Be ready for many answers, whenever they come; called again, `proceed` is another.

        `proceed` is called when the answers so far have been read, where `answer` was False.
        """

    @abstractmethod
    def answer(self, payload: bytes) -> bool:
        """Send one answer that others follow; whether the next may be made at once."""

    @abstractmethod
    def end(self, payload: bytes | None) -> None:
        """Send the last answer, or none: it was the one before."""

    @abstractmethod
    def fail(self, error: ServingError) -> None:
        """Answer with an error; nothing follows."""

    @abstractmethod
    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away."""


class DecoupledRequest(DecoupledPending):
    """A request that answers its call as often as its generator yields."""

    __slots__ = ("_call", "_empty_final", "_head", "_id", "_plan")

    def __init__(  # noqa: PLR0917  # as `Pending`
        self,
        lane: Lane,
        plan: Plan,
        buffers: Sequence[Buffer | None],
        nbytes: int,
        arrived: float,
        deadline: float,
        until: float,
        message: InferMessage,
        version: int,
        call: DecoupledCall,
        *,
        empty_final: bool,
    ) -> None:
        """With `empty_final` the caller wants to be told of an end that brings no answer."""
        super().__init__(lane, plan.rows, buffers, nbytes, arrived, deadline, until)
        self._plan = plan
        self._id = message.id
        self._head = answer_head(message.model, version, ())
        self._call = call
        self._empty_final = empty_final

    def answer(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> bool:
        """Send an answer. Raises `OutputInvalid`."""
        return self._call.answer(self._plan.answer(layout, outputs, self._id))

    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Send the last answer, if there is one. Raises `OutputInvalid`."""
        if outputs:
            self._call.end(self._plan.answer(layout, outputs, self._id))
        elif self._empty_final:
            self._call.end(assemble_answer(self._head, self._id, ()))
        else:
            self._call.end(None)

    def failed(self, error: ServingError) -> None:
        """Send the error."""
        self._call.fail(error)

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away."""
        self._call.watch(on_cancel)
