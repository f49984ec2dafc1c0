"""Background work that waits for one deployment. Decides only: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from math import inf

from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import Pending, Piece, cut, parts_of
from inferd.server.gateway.scheduling.queue import Batch
from inferd.server.gateway.scheduling.waiting.expiring import Expiring


class BackgroundQueue(Expiring):
    """A queue with one lane per shape, whose requests are cut to the batches that there is room for.

    It has no bound of its own: whoever fills it bounds what each caller has in it.
    """

    def __init__(self, *, max_batch_bytes: int) -> None:
        """`max_batch_bytes` of input data."""
        super().__init__()
        self._max_batch_bytes = max_batch_bytes
        self._lanes: dict[Lane, deque[Piece]] = {}

    def add(self, pending: Pending) -> None:
        """Queue a request."""
        lane = pending.lane
        pieces = self._lanes.setdefault(lane, deque())
        # Counted in rows, for how many pieces it is executed in shows piece by piece.
        pending.unfinished = pending.rows
        if pending.rows <= lane.max_rows or not lane.max_rows:
            pieces.append(pending)
            pending.queued = 1
        else:
            parts = parts_of(pending)
            pending.queued = len(parts)
            pieces.extend(parts)
        self.size += 1
        self._earliest_deadline = min(self._earliest_deadline, pending.deadline)

    @property
    def oldest(self) -> float:
        """When the request that waits longest arrived; infinite where none waits."""
        return min((pieces[0].pending.arrived for pieces in self._lanes.values()), default=inf)

    def take(self, now: float, *, rows: int = 0, executions: int = 1) -> Batch | None:
        """The next batch, of the lane whose head waits longest; None where nothing waits.

        It has at most `rows` rows, or with 0 as many as fill this many executions, or fewer whose
        outputs fit into a batch.
        """
        lane = self._next_lane()
        if lane is None:
            return None
        pieces = self._lanes[lane]
        most = max(1, lane.joined_rows)
        together = lane.together(executions, most, self._max_batch_bytes)
        room = min(rows, most) if rows else most * together
        taken: list[Piece] = []
        total = nbytes = 0
        while pieces and total < room:
            piece = pieces.popleft()
            pending = piece.pending
            if pending.settled:
                continue
            fits = min(room - total, self._fitting(piece, nbytes)) if lane.batches else 1
            if piece.rows > fits:
                if taken and not fits:
                    pieces.appendleft(piece)
                    break
                piece, rest = cut(piece, max(1, fits))
                pieces.appendleft(rest)
                pending.queued += 1
            taken.append(piece)
            total += piece.rows
            nbytes += piece.nbytes
            if not lane.batches or not piece.rows:
                room = 0  # such a request is executed alone
            self._left(pending, now)
        if not pieces:
            del self._lanes[lane]
        return Batch(lane, taken, total, now, most if lane.batches else 0) if taken else None

    def give_back(self, batch: Batch) -> None:
        """Put a batch that was just taken back to where it was."""
        pieces = self._lanes.setdefault(batch.lane, deque())
        for piece in reversed(batch.pieces):
            self.size += not piece.pending.queued
            piece.pending.queued += 1
            pieces.appendleft(piece)

    def forget(self, pending: Pending) -> None:
        """Settle a request that is of no use any more; its pieces are never executed."""
        if pending.settled:
            return
        pending.settled = True
        if pending.queued:
            pending.queued = 0
            self.size -= 1
            # A caller that leaves has few requests here, but they are large.
            for lane, pieces in list(self._lanes.items()):
                self._lanes[lane] = deque([each for each in pieces if each.pending is not pending])
                if not self._lanes[lane]:
                    del self._lanes[lane]

    def next_event(self) -> float:
        """When a deadline passes."""
        return self._earliest_deadline if self.size else inf

    def _next_lane(self) -> Lane | None:
        best: Lane | None = None
        oldest = inf
        for lane, pieces in self._lanes.items():
            arrived = pieces[0].pending.arrived
            if arrived < oldest:
                best, oldest = lane, arrived
        return best

    def _fitting(self, piece: Piece, nbytes: int) -> int:
        """Rows of a piece that the bytes of a batch leave room for."""
        if nbytes + piece.nbytes <= self._max_batch_bytes:
            return piece.rows
        return max(0, (self._max_batch_bytes - nbytes) * piece.rows // piece.nbytes)

    def _left(self, pending: Pending, now: float) -> None:
        if not pending.taken:
            pending.taken = now
        pending.queued -= 1
        if not pending.queued:
            self.size -= 1

    def _pieces(self) -> Iterator[Piece]:
        return chain.from_iterable(self._lanes.values())

    def _drop_all(self) -> None:
        self._lanes.clear()
