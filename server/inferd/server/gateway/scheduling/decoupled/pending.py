"""A request that is answered many times."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import OutputLayout, Pending
from inferd.wire.tensors import Buffer


class DecoupledPending(Pending):
    """One request of a model that yields, until it is settled.

    `sent` counts its answers, `told` has the nanoseconds of its steps so far in the model and of
    copying out; `asked` is when its next answer was asked for, `left` when its caller went, or 0.0.

    `answered` brings the last of its answers, or, without outputs, the news that there is none.
    `until` is when it ends, answered or not, in monotonic seconds; `deadline` is for its waiting.
    """

    __slots__ = ("asked", "left", "sent", "told", "until")

    def __init__(  # noqa: PLR0917  # as `Pending`
        self,
        lane: Lane,
        rows: int,
        buffers: Sequence[Buffer | None],
        nbytes: int,
        arrived: float,
        deadline: float,
        until: float,
    ) -> None:
        super().__init__(lane, rows, buffers, nbytes, arrived, deadline)
        self.until = until
        self.sent = 0
        self.told = (0, 0)
        self.asked = self.left = 0.0

    @abstractmethod
    def answer(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> bool:
        """Send an answer that others follow; whether the next one may be made at once.

        Where it may not, the deployment's `proceed` is called when it may. `outputs` are valid only
        until this returns. Raises `OutputInvalid`, and then sends nothing.
        """
