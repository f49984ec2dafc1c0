"""How late a process comes round to what it meant to do."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 15
"""Rounds; with one each second no scrape of every 15 s misses the worst."""


class Lag:
    """Remembers how many seconds late the last rounds of a loop were."""

    def __init__(self) -> None:
        self._rounds: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, seconds: float) -> None:
        """A round began so much later than it was meant to."""
        self._rounds.append(max(0.0, seconds))

    @property
    def worst(self) -> float:
        """The latest of the last rounds, in seconds; 0 before the first."""
        return max(self._rounds, default=0.0)
