"""How much of the copying is hidden behind other batches' computing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Interval = tuple[int, int]
"""Begin and end, in nanoseconds by one clock."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What one batch did on the device, and when."""

    copy_in: Interval
    compute: Interval
    copy_out: Interval


def hidden_share(batches: Sequence[Steps]) -> float:
    """The share of all time of copies, in and out, in which a batch other than the copied one computed.

    0.0 where nothing took any time to copy.
    """
    copied = hidden = 0
    for index, batch in enumerate(batches):
        others = [each.compute for at, each in enumerate(batches) if at != index]
        for copy in (batch.copy_in, batch.copy_out):
            copied += copy[1] - copy[0]
            hidden += _covered(copy, others)
    return hidden / copied if copied else 0.0


def _covered(interval: Interval, by: Iterable[Interval]) -> int:
    """How much of the interval lies in at least one of the others."""
    begin, end = interval
    covered, reached = 0, begin
    for one, other in sorted(each for each in by if each[0] < end and each[1] > begin):
        covered += max(0, min(other, end) - max(one, reached))
        reached = max(reached, min(other, end))
    return covered
