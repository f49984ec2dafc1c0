"""Requests as the queue sees them, without a call behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.server.gateway.scheduling.pending import OutputLayout, Pending
from inferd.wire.errors import ServingError
from inferd.wire.signature import Axis, TensorSpec
from inferd.wire.tensors import Buffer


def lane(max_rows: int = 4, *, row_nbytes: int = 1, joined_rows: int = 0) -> Lane:
    """A lane of one INT8 input with rows of this many elements, and an output alike."""
    dims = (Axis("batch"), row_nbytes) if max_rows else (row_nbytes,)
    output = TensorSpec("y", "INT8", dims)
    inputs = (LaneInput("INT8", (row_nbytes,), row_nbytes),)
    return Lane(inputs, max_rows, (output,), joined_rows=joined_rows)


class Recorded(Pending):
    """A request that remembers how it ended. Raises `refuses` instead of taking an answer."""

    def __init__(
        self,
        on: Lane,
        rows: int = 1,
        *,
        arrived: float = 0.0,
        deadline: float = inf,
        data: bytes | None = None,
    ) -> None:
        nbytes = rows * sum(each.row_nbytes for each in on.inputs if each is not None)
        data = bytes(nbytes) if data is None else data
        super().__init__(on, rows, [data], len(data), arrived, deadline)
        self.answer: tuple[OutputLayout, list[bytes]] | None = None
        self.error: ServingError | None = None
        self.refuses: ServingError | None = None
        self.on_cancel: Callable[[], None] | None = None

    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Keep the answer."""
        if self.refuses is not None:
            raise self.refuses
        assert self.answer is None, "answered twice"
        assert self.error is None, "answered after it failed"
        self.answer = (layout, [bytes(each) for each in outputs])

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Remember what the caller's going away is to call."""
        self.on_cancel = on_cancel

    def failed(self, error: ServingError) -> None:
        """Keep the error."""
        assert self.error is None, "failed twice"
        assert self.answer is None, "failed after it was answered"
        self.error = error
