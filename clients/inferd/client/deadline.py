"""The time that one call of the SDK may take, whatever it sends in it."""

from __future__ import annotations

from time import monotonic


class Deadline:
    """Ends `seconds` from now."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, 0.0 once it has passed."""
        return max(0.0, self._end - monotonic())
