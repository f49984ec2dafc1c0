"""Which of many are sampled."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from math import log1p
from typing import TypeVar

T = TypeVar("T")


def never() -> int:
    """A gap that does not end."""
    return sys.maxsize


def gaps(share: float, chance: Callable[[], float] = random.random) -> Callable[[], int]:
    """What tells, called for each one sampled, how many steps it is to the next: 1 at least.

    The same as a draw for each, which would be taken with the probability `share` (0 to 1): the
    number of draws up to the first that is taken has a geometric distribution, here by inversion (L.
    Devroye, Non-Uniform Random Variate Generation, X.2). Counting steps costs less than drawing.
    `chance` is in [0, 1). Any thread may call, several at once: no generator, for that can be asked
    by one alone.
    """
    if share <= 0.0:
        return never
    if share >= 1.0:
        return lambda: 1
    missed = log1p(-share)
    return lambda: 1 + int(min(log1p(-chance()) / missed, 1e18))


def in_turn(
    gap: Callable[[], int], rarely: Callable[[T], None], usually: Callable[[T], None]
) -> Callable[[T], None]:
    """What hands each `gap()`-th thing that it is called with to `rarely`, all others to `usually`.

    For one thread: it counts without a lock.
    """
    if gap is never:
        return usually
    left = gap()

    def hand(thing: T) -> None:
        nonlocal left
        left -= 1
        if left:
            usually(thing)
            return
        left = gap()
        rarely(thing)

    return hand


class Turns:
    """Whose turn it is, of those that are asked about one after another; from any thread, without a lock."""

    __slots__ = ("_gap", "_left")

    def __init__(self, gap: Callable[[], int]) -> None:
        """`gap` as in `gaps`."""
        self._gap = gap
        self._left = gap()

    def comes(self) -> bool:
        """Whether it is the next one's."""
        # Two threads at once may miss a step, or take one end for two. But at gaps of 1 everyone's turn
        # comes: each looks at what it counted down to itself.
        self._left = left = self._left - 1
        if left > 0:
            return False
        self._left = self._gap()
        return True
