"""Which of many are sampled."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from math import log1p


def gaps(share: float, chance: Callable[[], float] = random.random) -> Callable[[], int]:
    """What tells, called for each one sampled, how many steps it is to the next: 1 at least.

    The same as a draw for each, which would be taken with the probability `share` (0 to 1): the
    number of draws up to the first that is taken has a geometric distribution, here by inversion (L.
    Devroye, Non-Uniform Random Variate Generation, X.2). Counting steps costs less than drawing.
    `chance` is in [0, 1). Any thread may call, several at once: no generator, for that can be asked
    by one alone.
    """
    if share <= 0.0:
        return lambda: sys.maxsize
    if share >= 1.0:
        return lambda: 1
    missed = log1p(-share)
    return lambda: 1 + int(min(log1p(-chance()) / missed, 1e18))
