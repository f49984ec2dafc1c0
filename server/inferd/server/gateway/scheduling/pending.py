"""A request on its way through the queue, and the pieces it is executed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.wire.errors import OutputInvalid, ServingError
from inferd.wire.tensors import Buffer, row_offsets

OutputLayout = tuple[tuple[str, tuple[int, ...]], ...]
"""Datatype and row shape (whole shape where the lane does not batch) of each output."""


class Pending(ABC):
    """One request until it is settled: answered, failed or given up by its caller.

    `rows` is 1 where the lane does not batch. `buffers` follow the signature's inputs.
    Times are monotonic seconds. `queued` counts its pieces that still wait, `unfinished` those
    without an outcome.
    """

    __slots__ = (
        "arrived",
        "buffers",
        "deadline",
        "durations",
        "lane",
        "queued",
        "rows",
        "settled",
        "taken",
        "unfinished",
        "_parts",
    )

    def __init__(
        self,
        lane: Lane,
        rows: int,
        buffers: Sequence[Buffer | None],
        arrived: float,
        deadline: float,
    ) -> None:
        self.lane = lane
        self.rows = rows
        self.buffers = buffers
        self.arrived = arrived
        self.deadline = deadline
        self.taken = 0.0
        """When its first piece left the queue; 0.0 until then."""
        self.queued = 0
        self.unfinished = 0
        self.settled = False
        self.durations = (0, 0, 0)
        """Nanoseconds of copying in, computing and copying out, over all its pieces."""
        self._parts: dict[int, tuple[OutputLayout, list[bytes]]] = {}

    @abstractmethod
    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Send the answer; `outputs` are valid only until this returns.

        Raises `OutputInvalid`, and then sends nothing, where they do not fit the request.
        """

    @abstractmethod
    def failed(self, error: ServingError) -> None:
        """Send the error."""

    def keep(
        self,
        piece: Piece,
        layout: OutputLayout,
        outputs: Sequence[Buffer],
        durations: tuple[int, int, int],
    ) -> None:
        """Take the outputs of one piece of a request that was split."""
        self._parts[piece.first_row] = (layout, [bytes(each) for each in outputs])
        a, b, c = self.durations
        self.durations = (a + durations[0], b + durations[1], c + durations[2])

    def join(self) -> tuple[OutputLayout, list[bytes]]:
        """The outputs of all pieces, joined in the order of their rows.

        Raises `OutputInvalid` where the model gave them different shapes.
        """
        parts = [part for _, part in sorted(self._parts.items())]
        layout = parts[0][0]
        if any(part[0] != layout for part in parts):
            raise OutputInvalid("the model gave rows of different shapes for one request")
        columns = zip(*(outputs for _, outputs in parts), strict=True)
        return layout, [b"".join(column) for column in columns]


class Piece:
    """The rows of a request that are executed together: all of them, unless it was split."""

    __slots__ = ("buffers", "first_row", "nbytes", "pending", "rows")

    def __init__(
        self, pending: Pending, first_row: int, rows: int, buffers: Sequence[Buffer | None]
    ) -> None:
        self.pending = pending
        self.first_row = first_row
        self.rows = rows
        self.buffers = buffers
        self.nbytes = sum([len(each) for each in buffers if each is not None])


def pieces_of(pending: Pending) -> list[Piece]:
    """The request as it is, or in pieces of `max_rows` if it has more rows than one batch."""
    step = pending.lane.max_rows
    if not step or pending.rows <= step:
        return [Piece(pending, 0, pending.rows, pending.buffers)]
    columns = [
        _cut(buffer, spec, pending.rows, step)
        for buffer, spec in zip(pending.buffers, pending.lane.inputs, strict=True)
    ]
    return [
        Piece(
            pending, first, min(step, pending.rows - first), [column[index] for column in columns]
        )
        for index, first in enumerate(range(0, pending.rows, step))
    ]


def _cut(
    buffer: Buffer | None, spec: LaneInput | None, rows: int, step: int
) -> list[memoryview | None]:
    """`buffer` in pieces of `step` rows, without a copy."""
    starts = range(0, rows, step)
    if buffer is None or spec is None:
        return [None] * len(starts)
    view = memoryview(buffer)
    if spec.datatype == "BYTES":
        offsets = row_offsets(view, rows, spec.row_elements)
        return [view[offsets[at] : offsets[min(at + step, rows)]] for at in starts]
    size = spec.row_nbytes
    return [view[at * size : min(at + step, rows) * size] for at in starts]
