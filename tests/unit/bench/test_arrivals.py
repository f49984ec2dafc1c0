"""Schedules of an open loop, and who is due."""

from __future__ import annotations

import numpy as np
import pytest

from inferd.bench.arrivals import Agenda, schedule
from inferd.bench.plan import ArrivalKind


def test_a_seed_gives_the_same_arrivals() -> None:
    """A run can be repeated exactly; another seed, step or process differs."""
    first = schedule("poisson", 500, 4, seed=(7, 0), part=0, parts=2)
    assert np.array_equal(first, schedule("poisson", 500, 4, seed=(7, 0), part=0, parts=2))
    for seed, part in (((8, 0), 0), ((7, 1), 0), ((7, 0), 1)):
        other = schedule("poisson", 500, 4, seed=seed, part=part, parts=2)
        assert not np.array_equal(first[:100], other[:100])


def test_poisson_arrivals_have_the_rate_and_the_spread() -> None:
    """All parts together: the mean is the rate, gaps vary as much as they are long."""
    parts = [schedule("poisson", 1000, 20, seed=(1, 0), part=at, parts=3) for at in range(3)]
    times = np.sort(np.concatenate(parts))
    assert len(times) == pytest.approx(20_000, rel=0.03)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1e-3, rel=0.03)
    assert gaps.std() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("kind", ["poisson", "constant"])
def test_arrivals_are_in_order_and_in_time(kind: ArrivalKind) -> None:
    """None before the begin, none after the end."""
    times = schedule(kind, 300, 2, seed=(0, 0), part=0, parts=1)
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 2


def test_constant_parts_interleave_evenly() -> None:
    """Two processes at 10 per second send every 0.1 s, in turn."""
    parts = [schedule("constant", 10, 1, seed=(0, 0), part=at, parts=2) for at in range(2)]
    assert parts[1][:2] == pytest.approx([0.1, 0.3])
    assert np.sort(np.concatenate(parts)) == pytest.approx(np.arange(10) / 10)


def test_late_arrivals_keep_their_times() -> None:
    """A sender that was held up gets everything that is due, each under its own time."""
    agenda = Agenda([1.0, 1.5, 2.0, 9.0])
    assert agenda.due(0.5) is None
    assert agenda.wait(0.5) == 0.5
    assert [agenda.due(2.25) for _ in range(4)] == [1.0, 1.5, 2.0, None]
    assert agenda.late == [1.25, 0.75, 0.25]
    assert list(agenda.handed_out()) == [1.0, 1.5, 2.0]
    assert agenda.wait(2.25) == 6.75
    assert agenda.due(9.0) == 9.0
    assert agenda.wait(9.0) is None
