"""How much background work may run, and when. Decides from what it is told: it has no clock."""

from __future__ import annotations

from math import inf

ALIVE = 2.0
"""Seconds after a request during which others are expected."""

SHARE = 0.25
"""Of the time of ordinary batches, there and back: so much later may one be there for ours."""

LEAST_SLICE = 0.0003
"""Seconds; less than this a caller cannot tell from the noise of a connection."""

QUIET = 0.003
"""Seconds without a batch that make a pause: callers in a loop have not sent their next by then."""

PATIENCE = 0.3
"""Seconds after which a slice runs without a pause, so that work goes on beside callers that make
none. So few of their requests meet one that the slowest hundredth is not made of these."""

REST = 1.0
"""Of a slice's time: so long is the pause after it."""

STRETCH = 0.004
"""Seconds that a message of full batches may last while nobody else calls. Two may lie at a worker."""

_MOST_EXECUTIONS = 16


class Pace:
    """Full batches while nobody else calls; beside others small slices with pauses between them.

    What arrives while a slice runs waits for its end. So a slice is made as long as a part of what
    those requests take anyway, by the measured time of the one before.
    """

    def __init__(self) -> None:
        self._ordinary = -inf
        """When the last ordinary batch ended."""
        self._round = 0.0
        self._slice_ended = -inf
        self._took = 0.0
        self._floor = LEAST_SLICE
        """The least that a slice has taken of late, whatever its rows."""
        self._rows = 1
        self._executions = 1

    @property
    def executions(self) -> int:
        """Executions that a message may ask for while nobody else calls."""
        return self._executions

    def ordinary(self, now: float, took: float) -> None:
        """An ordinary batch has ended that took so many seconds."""
        self._ordinary = now
        self._round += (took - self._round) * (0.1 if self._round else 1.0)

    def alive(self, now: float) -> bool:
        """Whether ordinary requests are to be expected."""
        return now < self._ordinary + ALIVE

    def slice(self, now: float) -> int:
        """Rows that may run now beside others; 0: not before `next_slice`."""
        return self._rows if now >= self.next_slice() else 0

    def next_slice(self) -> float:
        """When the next slice may run."""
        rested = self._slice_ended + REST * self._took
        pause = min(self._ordinary + QUIET, self._slice_ended + PATIENCE)
        return max(rested, pause)

    def concluded(self, now: float, rows: int, executions: int, took: float, busy: float) -> None:
        """A message of full batches has ended that `took` seconds, `busy` of them in the model."""
        self._ended(now, took)
        longest = max(1e-6, busy / executions)
        self._executions = max(1, min(_MOST_EXECUTIONS, int(STRETCH / longest)))
        self._rows = max(1, int(rows * self._wanted() / max(busy, 1e-6)))

    def concluded_slice(self, now: float, rows: int, took: float, busy: float) -> None:
        """A slice has ended. From its time in the model the size of the next one follows.

        The way there and back takes as long for fewer rows.
        """
        self._ended(now, took)
        self._floor = min(busy, 1.02 * self._floor)
        # At most twice or half of the last one: a single answer proves little.
        fitting = int(rows * self._wanted() / max(busy, 1e-6))
        self._rows = max(1, rows // 2, min(fitting, 2 * rows))

    def _ended(self, now: float, took: float) -> None:
        self._slice_ended = now
        self._took = took

    def _wanted(self) -> float:
        """Seconds that a slice may take; fewer rows would not make it shorter than its floor."""
        return max(LEAST_SLICE, SHARE * self._round, 1.25 * self._floor)
