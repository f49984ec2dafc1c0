"""A request to a model, and the call that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.admission.regions import Targets
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import OutputLayout, Pending
from inferd.wire.errors import ServingError
from inferd.wire.tensors import Buffer


class InferCall(Protocol):
    """What the dataplane needs of a call, whichever door it came through."""

    @property
    def payload(self) -> bytes:
        """The serialised ModelInferRequest."""

    @property
    def deadline(self) -> float:
        """In monotonic seconds, infinite for none."""

    @property
    def method(self) -> str:
        """The path of a gRPC method, or an HTTP method and its route."""

    @property
    def metadata(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        """What came beside it: gRPC metadata or HTTP headers."""

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away unanswered."""

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""


class RefusedCall(Protocol):
    """What the dataplane needs of a call that its door refused, in words of its own.

    It began to be read at `began`, in monotonic seconds; `traced` hears, if somebody cares, under
    which trace and span it is traced.
    """

    method: str
    metadata: Iterable[tuple[str | bytes, str | bytes]]
    began: float
    traced: Callable[[str, str], None] | None


class InferRequest(Pending):
    """A request that answers its call."""

    __slots__ = ("_call", "_id", "_plan")

    def __init__(  # noqa: PLR0917  # on the path of a request keywords have a price
        self,
        lane: Lane,
        plan: Plan,
        buffers: Sequence[Buffer | None],
        nbytes: int,
        arrived: float,
        deadline: float,
        id: str,  # noqa: A002  # the protocol's word
        call: InferCall,
    ) -> None:
        super().__init__(lane, plan.rows, buffers, nbytes, arrived, deadline)
        self._plan = plan
        self._id = id
        self._call = call

    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Assemble the answer and send it. Raises `OutputInvalid`."""
        self._call.reply(self._plan.answer(layout, outputs, self._id))

    def failed(self, error: ServingError) -> None:
        """Send the error."""
        self._call.fail(error)

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away."""
        self._call.watch(on_cancel)


class PlacedRequest(InferRequest):
    """A request with outputs that go to shared memory."""

    __slots__ = ("_targets",)

    def __init__(self, targets: Targets, *request: Any) -> None:
        super().__init__(*request)
        self._targets = targets

    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Write what goes to shared memory and send the rest. Raises `ServingError`."""
        self._call.reply(self._targets.answer(self._plan, layout, outputs, self._id))
