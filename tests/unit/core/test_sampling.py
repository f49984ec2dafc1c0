"""Which of many are sampled."""

from __future__ import annotations

import math
from random import Random

import pytest

from inferd.core.telemetry.sampling import Turns, gaps, in_turn, never


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
    assert gaps(share, lambda: chance)() == steps


def test_the_share_comes_out() -> None:
    """Over many, and about as unevenly as single draws: an even spread would follow a caller's rhythm."""
    gap = gaps(0.01, Random(7).random)
    drawn = [gap() for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(100, rel=0.03)
    assert sum(each <= 69 for each in drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 5e-324, 1e-17])
def test_next_to_none_is_next_to_none(share: float) -> None:
    """A share of 0 samples nothing that comes in a lifetime, and the least above it hardly more."""
    assert gaps(share, lambda: 0.5)() > 1e16


def test_a_small_share_is_exact() -> None:
    """Where 1 - share is a rounded number, too."""
    assert gaps(1e-15, lambda: 0.5)() == pytest.approx(math.log(2) * 1e15)


def test_several_threads_may_ask_at_once() -> None:
    """While one is about to have its answer, another has its own."""
    answers = list[int]()

    def chance() -> float:
        if not answers:
            answers.append(0)
            answers[0] = gap()  # as another thread would, in the middle of it
        return 0.0

    gap = gaps(0.5, chance)
    assert (gap(), answers) == (1, [1])


def test_whose_turn_it_is_goes_elsewhere() -> None:
    """Each one that ends a gap, and no other; where none ends, nothing is between."""
    lengths, rarely, usually = iter([2, 1, 3, 9]), list[int](), list[int]()
    hand = in_turn(lambda: next(lengths), rarely.append, usually.append)
    for each in range(1, 9):
        hand(each)
    assert (rarely, usually) == ([2, 3, 6], [1, 4, 5, 7, 8])
    assert in_turn(never, rarely.append, print) is print


def test_a_turn_comes_at_the_end_of_each_gap() -> None:
    """And the next gap begins there."""
    lengths = iter([2, 1, 3, 9])
    turns = Turns(lambda: next(lengths))
    assert [turns.comes() for _ in range(8)] == [
        False, True, True, False, False, True, False, False,
    ]  # fmt: skip
