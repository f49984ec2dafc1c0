"""Which of many are sampled."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from inferd.core.telemetry.sampling import gaps


@pytest.mark.parametrize(
    ("share", "chance", "steps"),
    [
        (0.5, 0.0, 1),
        (0.5, 0.49, 1),
        (0.5, 0.51, 2),
        (0.5, 0.74, 2),
        (0.5, 0.76, 3),
        (0.01, 0.009, 1),
        (0.01, 0.011, 2),
        (0.01, 0.633, 100),
        (1.0, 0.99, 1),
    ],
)
def test_a_gap_is_as_long_as_draws_in_vain_would_be(
    share: float, chance: float, steps: int
) -> None:
    """As many steps as it takes until one has been drawn with that chance: 1 - (1 - share)**steps."""
    assert next(gaps(share, lambda: chance)) == steps


def test_the_share_comes_out() -> None:
    """Over many, and about as unevenly as single draws: an even spread would follow a caller's rhythm."""
    drawn = list(islice(gaps(0.01, Random(7).random), 20_000))
    assert sum(drawn) / len(drawn) == pytest.approx(100, rel=0.03)
    assert sum(each <= 69 for each in drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)


def test_none_is_none() -> None:
    """A share of 0 samples nothing that comes in a lifetime."""
    assert next(gaps(0.0)) > 1e18
