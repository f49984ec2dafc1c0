"""What waits for one deployment, and which of it runs next. Decides only: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import ceil, inf

from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import Pending, Piece, parts_of
from inferd.server.gateway.scheduling.waiting.expiring import Expiring
from inferd.server.gateway.scheduling.waiting.lane_pieces import LanePieces
from inferd.wire.errors import QueueFull

_PURGE = 16
"""Forgotten requests worth a walk through the queue."""


@dataclass(slots=True)
class Batch:
    """Pieces of one lane that are executed together."""

    lane: Lane
    pieces: list[Piece]
    rows: int
    taken: float
    """When it left the queue."""
    most: int = 0
    """Rows that one execution takes; 0 where each request is executed alone."""
    is_slice: bool = False
    """Whether it is background work, cut short because others may call."""

    @property
    def step(self) -> int:
        """Rows of one execution, where there are more than one execution takes; else 0."""
        return self.most if self.rows > self.most > 0 else 0

    @property
    def sizes(self) -> list[int]:
        """The rows of each execution."""
        step = self.step
        if not step:
            return [self.rows]
        return [min(step, self.rows - at) for at in range(0, self.rows, step)]

    @property
    def executions(self) -> int:
        """How often the model runs for it."""
        return ceil(self.rows / self.step) if self.step else 1


class Queue(Expiring):
    """A bounded queue with one lane per shape.

    Work-conserving: whoever asks gets what waits at once, up to a full batch, unless a delay is
    set; then a batch that is not full waits until its oldest request is that old. The lane
    whose head waits longest goes first.
    """

    def __init__(self, *, max_size: int, max_delay: float, max_batch_bytes: int) -> None:
        """`max_size` in requests, `max_delay` in seconds, `max_batch_bytes` of input data."""
        super().__init__()
        self._max_size = max_size
        self._max_delay = max_delay
        self._max_batch_bytes = max_batch_bytes
        self._lanes: dict[Lane, LanePieces] = {}
        self._forgotten = 0

    def add(self, pending: Pending) -> None:
        """Queue a request. Raises `QueueFull`."""
        if self.size >= self._max_size:
            raise QueueFull(
                f"{self.size} requests wait already, which is this model's max_queue_size; "
                "send less, or raise max_queue_size or instances"
            )
        lane = pending.lane
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = LanePieces()
        if pending.rows <= lane.max_rows or not lane.max_rows:
            waiting.pieces.append(pending)
            pending.queued = 1
        else:
            parts = parts_of(pending)
            pending.queued = pending.unfinished = len(parts)
            waiting.pieces.extend(parts)
        waiting.rows += pending.rows
        self.size += 1
        if pending.deadline < self._earliest_deadline:
            self._earliest_deadline = pending.deadline

    @property
    def full(self) -> bool:
        """Whether a batch waits that cannot grow any more."""
        return any(_is_full(lane, waiting) for lane, waiting in self._lanes.items())

    @property
    def oldest(self) -> float:
        """When the request that waits longest arrived; infinite where none waits."""
        # The first of each lane that still waits: behind it all came later, and the lock is held.
        heads = (
            next((each.pending.arrived for each in lane.pieces if not each.pending.settled), inf)
            for lane in self._lanes.values()
        )
        return min(heads, default=inf)

    def take(self, now: float, *, full: bool = False) -> Batch | None:
        """The next batch that is due, or None; with `full` only one that cannot grow any more.

        Several parts of one request that was split may come together (`Lane.parts`): its caller
        gets no part of the answer sooner than the whole. Call `expire` first: this looks at no deadline.
        """
        best: Lane | None = None
        oldest = inf
        for lane, waiting in tuple(self._lanes.items()):
            self._drop_settled_heads(waiting)
            if not waiting.pieces:
                del self._lanes[lane]
                continue
            arrived = waiting.pieces[0].pending.arrived
            if arrived < oldest and self._due(lane, waiting, arrived, now):
                best, oldest = lane, arrived
        # A full batch of another lane must not overtake it: it would again and again.
        if best is None or (full and not _is_full(best, self._lanes[best])):
            return None
        return self._form(best, now)

    def give_back(self, batch: Batch) -> None:
        """Put a batch that was just taken back to where it was."""
        waiting = self._lanes.get(batch.lane)
        if waiting is None:
            waiting = self._lanes[batch.lane] = LanePieces()
        for piece in reversed(batch.pieces):
            pending = piece.pending
            if not pending.queued:
                self.size += 1
            pending.queued += 1
            if piece.first_row == 0:
                pending.taken = 0.0
            waiting.pieces.appendleft(piece)
        waiting.rows += batch.rows

    def next_event(self, now: float) -> float:
        """When to look again without a new request: a delay ends or a deadline passes.

        A batch that is due already waits for an instance, not for the clock.
        """
        if not self.size:
            return inf
        event = self._earliest_deadline
        if self._max_delay:
            for waiting in self._lanes.values():
                if waiting.pieces:
                    due = waiting.pieces[0].pending.arrived + self._max_delay
                    event = min(event, due) if due > now else event
        return event

    def forget(self, pending: Pending) -> None:
        """Settle a request that is of no use any more; its pieces are never executed."""
        if pending.settled:
            return
        pending.settled = True
        if pending.queued:
            pending.queued = 0
            self.size -= 1
            self._forgotten += 1
            # Their tensors must not outlive them by more than those of the requests that wait.
            if self._forgotten > max(_PURGE, self.size):
                self._purge()

    def _purge(self) -> None:
        self._forgotten = 0
        for lane, waiting in list(self._lanes.items()):
            waiting.pieces = deque([each for each in waiting.pieces if not each.pending.settled])
            waiting.rows = sum([each.rows for each in waiting.pieces])
            if not waiting.pieces:
                del self._lanes[lane]

    def _pieces(self) -> Iterator[Piece]:
        return chain.from_iterable(waiting.pieces for waiting in self._lanes.values())

    def _drop_all(self) -> None:
        self._lanes.clear()

    def _due(self, lane: Lane, waiting: LanePieces, arrived: float, now: float) -> bool:
        return not self._max_delay or now >= arrived + self._max_delay or _is_full(lane, waiting)

    @staticmethod
    def _drop_settled_heads(waiting: LanePieces) -> None:
        pieces = waiting.pieces
        while pieces and pieces[0].pending.settled:
            waiting.rows -= pieces.popleft().rows

    def _form(self, lane: Lane, now: float) -> Batch | None:
        waiting = self._lanes[lane]
        pieces, rows, nbytes = waiting.pieces, 0, 0
        taken: list[Piece] = []
        max_rows, max_nbytes = lane.joined_rows, self._max_batch_bytes
        while pieces:
            piece = pieces[0]
            pending = piece.pending
            if not pending.settled:
                if taken and (
                    nbytes + piece.nbytes > max_nbytes
                    or (
                        rows + piece.rows > max_rows
                        and not self._go_together(taken, piece, rows, nbytes)
                    )
                ):
                    break
                taken.append(piece)
                rows += piece.rows
                nbytes += piece.nbytes
                if not pending.taken:
                    pending.taken = now
                pending.queued -= 1
                if not pending.queued:
                    self.size -= 1
            waiting.rows -= piece.rows
            pieces.popleft()
        if not pieces:
            del self._lanes[lane]
        return Batch(lane, taken, rows, now, lane.max_rows) if taken else None

    def _go_together(self, taken: list[Piece], piece: Piece, rows: int, nbytes: int) -> bool:
        """Whether one more part goes to the worker with parts of the same request."""
        lane = piece.pending.lane
        room = lane.output_nbytes(rows + piece.rows, nbytes + piece.nbytes)
        return (
            len(taken) < lane.parts
            and taken[0].pending is piece.pending
            and room <= self._max_batch_bytes
        )


def _is_full(lane: Lane, waiting: LanePieces) -> bool:
    """Whether more requests would not make the next batch of this lane larger."""
    return waiting.rows >= max(1, lane.joined_rows)
