"""A request on its way through the queue, and the pieces it is executed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.wire.errors import OutputInvalid, ServingError
from inferd.wire.tensors import Buffer, row_offsets

OutputLayout = tuple[tuple[str, tuple[int, ...]], ...]
"""Datatype and row shape (whole shape where the lane does not batch) of each output."""


class Piece(ABC):
    """Rows that are executed together: a whole request, or a part of one that was split.

    `rows` is 1 where the lane does not batch. `buffers` follow the signature's inputs.
    """

    __slots__ = ("buffers", "first_row", "nbytes", "rows")

    def __init__(
        self, first_row: int, rows: int, buffers: Sequence[Buffer | None], nbytes: int
    ) -> None:
        self.first_row = first_row
        self.rows = rows
        self.buffers = buffers
        self.nbytes = nbytes

    @property
    @abstractmethod
    def pending(self) -> Pending:
        """The request that the rows belong to."""


class Pending(Piece):
    """One request until it is settled: answered, failed or given up by its caller.

    It is its own piece unless it is split. Times are monotonic seconds. `queued` counts its pieces
    that still wait, `unfinished` those without an outcome; of background work, rows without one.
    """

    __slots__ = (
        "_parts",
        "arrived",
        "deadline",
        "durations",
        "lane",
        "queued",
        "settled",
        "taken",
        "unfinished",
    )

    def __init__(  # noqa: PLR0917  # on the path of a request keywords have a price
        self,
        lane: Lane,
        rows: int,
        buffers: Sequence[Buffer | None],
        nbytes: int,
        arrived: float,
        deadline: float,
    ) -> None:
        """`nbytes` is the size of all `buffers`."""
        self.first_row = 0
        self.rows = rows
        self.buffers = buffers
        self.nbytes = nbytes
        self.lane = lane
        self.arrived = arrived
        self.deadline = deadline
        self.taken = 0.0
        """When its first piece left the queue; 0.0 until then."""
        self.queued = 0
        self.unfinished = 1
        self.settled = False
        self.durations = (0, 0, 0)
        """Nanoseconds of copying in, computing and copying out, over the pieces of a split one."""
        self._parts: dict[int, tuple[OutputLayout, list[bytes]]] | None = None

    @property
    def pending(self) -> Pending:
        """Itself."""
        return self

    @abstractmethod
    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Send the answer; `outputs` are valid only until this returns.

        Raises `ServingError`, and then sends nothing, where they do not fit the request.
        """

    @abstractmethod
    def failed(self, error: ServingError) -> None:
        """Send the error."""

    @abstractmethod
    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away: it is not answered at once."""

    def keep(
        self,
        piece: Piece,
        layout: OutputLayout,
        outputs: Sequence[Buffer],
        durations: tuple[int, int, int],
    ) -> None:
        """Take the outputs of one piece of a request that was split."""
        if self._parts is None:
            self._parts = {}
        self._parts[piece.first_row] = (layout, [bytes(each) for each in outputs])
        a, b, c = self.durations
        self.durations = (a + durations[0], b + durations[1], c + durations[2])

    def join(self) -> tuple[OutputLayout, list[bytes]]:
        """The outputs of all pieces, joined in the order of their rows.

        Raises `OutputInvalid` where the model gave them different shapes.
        """
        parts = [part for _, part in sorted((self._parts or {}).items())]
        layout = parts[0][0]
        if any(part[0] != layout for part in parts):
            raise OutputInvalid("the model gave rows of different shapes for one request")
        columns = zip(*(outputs for _, outputs in parts), strict=True)
        return layout, [b"".join(column) for column in columns]


class Part(Piece):
    """Rows of a request that has too many for one batch."""

    __slots__ = ("_whole",)

    def __init__(
        self, whole: Pending, first_row: int, rows: int, buffers: Sequence[Buffer | None]
    ) -> None:
        nbytes = sum(len(each) for each in buffers if each is not None)
        super().__init__(first_row, rows, buffers, nbytes)
        self._whole = whole

    @property
    def pending(self) -> Pending:
        """The request that it is a part of."""
        return self._whole


def parts_of(pending: Pending) -> list[Part]:
    """A request of more rows than one batch takes, in parts of at most that many."""
    step = pending.lane.max_rows
    columns = [
        _cut(buffer, spec, pending.rows, step)
        for buffer, spec in zip(pending.buffers, pending.lane.inputs, strict=True)
    ]
    return [
        Part(pending, first, min(step, pending.rows - first), [column[index] for column in columns])
        for index, first in enumerate(range(0, pending.rows, step))
    ]


def unsettled(pieces: Iterable[Piece]) -> int:
    """How many requests these are pieces of whose outcome is still open."""
    return len({id(piece.pending) for piece in pieces if not piece.pending.settled})


def cut(piece: Piece, rows: int) -> tuple[Part, Part]:
    """The first `rows` rows of a piece that has more, and the others."""
    whole = piece.pending
    columns = [
        _halves(buffer, spec, piece.rows, rows)
        for buffer, spec in zip(piece.buffers, whole.lane.inputs, strict=True)
    ]
    return (
        Part(whole, piece.first_row, rows, [first for first, _ in columns]),
        Part(whole, piece.first_row + rows, piece.rows - rows, [rest for _, rest in columns]),
    )


def _halves(
    buffer: Buffer | None, spec: LaneInput | None, rows: int, first: int
) -> tuple[memoryview | None, memoryview | None]:
    if buffer is None or spec is None:
        return None, None
    view = memoryview(buffer)
    at = first * spec.row_nbytes
    if spec.datatype == "BYTES":
        at = row_offsets(view, rows, spec.row_elements)[first]
    return view[:at], view[at:]


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
