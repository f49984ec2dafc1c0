"""What one batch adds to the statistics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from inferd.core.telemetry.metrics import SECONDS
from inferd.server.gateway.scheduling.instance import Completed
from inferd.server.gateway.scheduling.pending import Pending, Piece
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.errors import ServingError
from inferd.wire.tensors import Buffer


def share(durations: tuple[int, int, int], rows: int, of: int) -> tuple[int, int, int]:
    """What `rows` of `of` rows that were executed one after another took."""
    if rows == of:  # of no rows at all, too
        return durations
    a, b, c = durations
    return a * rows // of, b * rows // of, c * rows // of


@dataclass(slots=True)
class Tally:
    """What one batch adds to the statistics, gathered outside the lock. Times in seconds."""

    statistics: Statistics
    requests: int = 0
    total: float = 0.0
    queued: float = 0.0
    split: list[tuple[int, int, int]] = field(default_factory=list)
    unfit: list[tuple[Pending, ServingError]] = field(default_factory=list)

    def settle_split(
        self, piece: Piece, outcome: Completed, outputs: Sequence[Buffer], now: float
    ) -> None:
        """Take the outputs of a piece; with the last one, answer its request and count it."""
        pending = piece.pending
        if pending.lane.background:  # in rows
            pending.unfinished -= piece.rows - 1
        durations = outcome.durations
        if outcome.execution.batch.step:  # its parts bear together what it took
            durations = share(durations, piece.rows, outcome.execution.batch.rows)
        pending.keep(piece, outcome.layout, outputs, durations)
        if pending.unfinished:
            return
        try:
            pending.answered(*pending.join())
        except ServingError as error:
            self.unfit.append((pending, error))
            return
        pending.settled = True
        self.split.append(pending.durations)
        self.timed(pending, now)

    def timed(self, pending: Pending, now: float) -> None:
        """Note how long an answered request took and waited.

        Buckets of the statistics are counted here, where answers are: without the lock, which
        nobody else needs to change them.
        """
        total, queued = now - pending.arrived, pending.taken - pending.arrived
        self.total += total
        self.queued += queued
        statistics = self.statistics
        statistics.total_buckets[bisect_left(SECONDS, total)] += 1
        statistics.queue_buckets[bisect_left(SECONDS, queued)] += 1

    def count(self, durations: tuple[int, int, int]) -> None:
        """Count the answered requests; `durations` are those of this batch in nanoseconds."""
        statistics = self.statistics
        count = self.requests
        if not count and not self.split:
            return
        spent = [count * each for each in durations]
        statistics.computed(count, durations)
        for split in self.split:
            statistics.computed(1, split)
            spent = [a + b for a, b in zip(spent, split, strict=True)]
        statistics.succeeded(
            count + len(self.split),
            int(self.total * 1e9),
            int(self.queued * 1e9),
            (spent[0], spent[1], spent[2]),
        )
