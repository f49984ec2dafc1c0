"""What counts come to between two looks."""

from __future__ import annotations

import pytest

from inferd.core.telemetry.figures import figures, quantile
from inferd.core.telemetry.sample import Sample, cpu_of, watts_of
from inferd.core.telemetry.status import Figures, Totals

BOUNDS = (0.001, 0.01, 0.1)


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, (0, 0, 0, 0), None),
        (0.5, (), None),
        (0.5, (4, 0, 0, 0), 0.0005),  # halfway from zero to the first bound
        (1.0, (4, 0, 0, 0), 0.001),
        (0.5, (0, 4, 0, 0), 0.0055),
        (0.95, (50, 40, 10, 0), 0.055),
        (0.5, (5, 0, 5, 0), 0.001),  # the rank is met at the end of a bucket; none is empty
        (0.99, (0, 0, 0, 7), 0.1),  # beyond the last bound nothing is known but that
    ],
)
def test_a_quantile_is_prometheus_s(
    share: float, counts: tuple[int, ...], expected: float | None
) -> None:
    """Values lie evenly in their bucket, the first begins at zero, the last has no end."""
    assert quantile(share, counts, BOUNDS) == pytest.approx(expected)


def test_figures_are_of_what_has_grown() -> None:
    """Rates over the time between, shares and means over what was counted in it."""
    earlier = Totals(
        answered=100, errors=1, invalid=5, rows=300, batches=50, seconds=9.0, buckets=(90, 10, 0, 0)
    )
    later = Totals(
        answered=120, errors=6, invalid=8, cancelled=2, rows=360, batches=60, seconds=9.1,
        buckets=(90, 30, 0, 0),
    )  # fmt: skip
    found = figures(earlier, later, 10.0, BOUNDS)
    assert found.requests_per_second == pytest.approx(3.0)
    assert found.errors_per_second == pytest.approx(0.5)
    assert found.rows_per_second == pytest.approx(6.0)
    assert found.error_share == pytest.approx(0.2)  # of 25: whoever asks wrongly counts nowhere
    assert found.mean_seconds == pytest.approx(0.005)
    assert found.speed == pytest.approx(200.0)
    assert found.p50_seconds == pytest.approx(0.0055)
    assert found.batch_rows == pytest.approx(6.0)


def test_nothing_counted_is_no_figure() -> None:
    """Without requests, a mean or a share would be made up; without time, a rate."""
    totals = Totals(answered=3, seconds=1.0, buckets=(3, 0, 0, 0))
    assert figures(totals, totals, 5.0, BOUNDS) == Figures()
    assert figures(Totals(), totals, 0.0, BOUNDS) == Figures()


def test_cpu_is_added_up_over_processes() -> None:
    """One that began since counts in full; one that is gone, or that nobody read, does not."""
    earlier = Sample(10.0, cpu={1: 5.0, 2: 1.0}, read_at=9.5)
    later = Sample(14.0, cpu={1: 7.0, 3: 4.0}, read_at=13.5)
    assert cpu_of((1,), earlier, later) == pytest.approx(0.5)
    assert cpu_of((1, 2, 3), earlier, later) == pytest.approx(1.5)
    assert cpu_of((2,), earlier, later) is None
    assert cpu_of((1,), Sample(10.0), later) is None
    assert cpu_of((1,), later, later) is None


def test_power_is_energy_over_time() -> None:
    """And unknown where a GPU does not tell its energy."""
    earlier = Sample(0.0, joules={"a": 100.0}, read_at=0.0)
    later = Sample(5.9, joules={"a": 600.0, "b": 1.0}, read_at=5.0)
    assert watts_of("a", earlier, later) == pytest.approx(100.0)
    assert watts_of("b", earlier, later) is None
    assert watts_of("a", later, later) is None
