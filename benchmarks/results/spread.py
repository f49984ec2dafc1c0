"""A figure over some rounds, and ratios taken round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """Middle, least and most of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """`12,345 [12,100 .. 12,900]`."""
        low, high = f"{self.least:,.{digits}f}", f"{self.most:,.{digits}f}"
        return f"{self.median:,.{digits}f} [{low} .. {high}]"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Ours divided by theirs, round by round; None where a round has no such figure."""
    pairs = list(zip(ours, theirs, strict=True))
    if not pairs or any(b == 0 for _, b in pairs):
        return None
    return Spread.of([a / b for a, b in pairs])
