"""Which of many are sampled."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from math import log


def gaps(share: float, chance: Callable[[], float] = random.random) -> Iterator[int]:
    """From each one sampled to the next, how many steps it is: without end, 1 at least.

    The same as a draw for each, which would be taken with the probability `share` (0 to 1): the
    number of draws up to the first that is taken has a geometric distribution, here by inversion (L.
    Devroye, Non-Uniform Random Variate Generation, X.2). Counting steps costs less than drawing.
    `chance` is in [0, 1).
    """
    if share <= 0.0:
        while True:
            yield sys.maxsize
    if share >= 1.0:
        while True:
            yield 1
    missed = log(1.0 - share)
    while True:
        yield 1 + int(log(1.0 - chance()) / missed)
