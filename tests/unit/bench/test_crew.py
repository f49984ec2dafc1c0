"""When more client processes are tried, and when they are kept."""

from __future__ import annotations

import pytest

from inferd.bench.fleet.crew import Attempt, Crew


@pytest.mark.parametrize(
    ("made", "most", "count"),
    [
        (Attempt(1, 0.80, 1000, limited=False), 32, None),
        (Attempt(1, 0.86, 1000, limited=False), 32, 2),
        (Attempt(1, 0.10, 1000, limited=True), 32, 2),
        (Attempt(4, 0.95, 1000, limited=True), 32, 8),
        (Attempt(6, 0.95, 1000, limited=True), 32, 8),
        (Attempt(8, 0.95, 1000, limited=True), 32, None),
        (Attempt(1, 0.95, 1000, limited=True), 1, None),
        (Attempt(2, 0.95, 1000, limited=True), 3, 3),
    ],
)
def test_more_up_to_the_cores(made: Attempt, most: int, count: int | None) -> None:
    """Doubled while one is too busy, never more than cores or than there is work for."""
    assert Crew(None, cores=8).more(made, most) == count


def test_a_fixed_number_stays() -> None:
    """Whoever says a number gets it, but for callers who are fewer."""
    crew = Crew(3, cores=2)
    assert (crew.size(32), crew.size(2)) == (3, 2)
    assert crew.more(Attempt(3, 1.0, 1000, limited=True), 32) is None


def test_what_helped_is_kept_for_later_steps() -> None:
    """The next step begins with as many."""
    crew = Crew(None, cores=8)
    one = Attempt(1, 0.95, 1000, limited=True)
    assert crew.size(32) == 1
    assert crew.keeps(Attempt(2, 0.95, 1100, limited=True), one)
    assert crew.size(32) == 2
    assert crew.more(Attempt(2, 0.95, 1100, limited=True), 32) == 4


@pytest.mark.parametrize(
    ("tried", "kept"),
    [
        (Attempt(2, 0.95, 1010, limited=True), False),
        (Attempt(2, 0.60, 990, limited=False), True),
        (Attempt(2, 0.60, 900, limited=False), False),
    ],
)
def test_more_must_pay(tried: Attempt, *, kept: bool) -> None:
    """In answers, or in a client that is the limit no longer; if not, no more are tried."""
    crew = Crew(None, cores=8)
    one = Attempt(1, 0.95, 1000, limited=True)
    assert crew.keeps(tried, one) == kept
    assert (crew.more(one, 32) is None) == (not kept)
