"""What one batch adds to the statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

from inferd.server.gateway.scheduling.pending import Pending
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.errors import ServingError


def share(durations: tuple[int, int, int], rows: int, of: int) -> tuple[int, int, int]:
    """What `rows` of `of` rows that were executed one after another took."""
    if rows == of:  # so for none of none
        return durations
    a, b, c = durations
    return a * rows // of, b * rows // of, c * rows // of


@dataclass(slots=True)
class Tally:
    """What one batch adds to the statistics, gathered outside the lock. Times in seconds."""

    requests: int = 0
    total: float = 0.0
    queued: float = 0.0
    split: list[tuple[int, int, int]] = field(default_factory=list)
    unfit: list[tuple[Pending, ServingError]] = field(default_factory=list)

    def add_to(self, statistics: Statistics, durations: tuple[int, int, int]) -> None:
        """Count the answered requests; `durations` are those of this batch in nanoseconds."""
        count = self.requests
        if not count and not self.split:
            return
        spent = [count * each for each in durations]
        for split in self.split:
            spent = [a + b for a, b in zip(spent, split, strict=True)]
        statistics.succeeded(
            count + len(self.split),
            int(self.total * 1e9),
            int(self.queued * 1e9),
            (spent[0], spent[1], spent[2]),
        )
