"""Percentiles and rates of what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inferd.bench.arrivals import schedule
from inferd.bench.samples import CUT_OFF, Samples, measure


def samples(*requests: tuple[float, float, int]) -> Samples:
    """Requests as (intended, finished, code)."""
    columns = list(zip(*requests, strict=True)) or [(), (), ()]
    return Samples(
        np.array(columns[0], dtype=np.float64),
        np.array(columns[1], dtype=np.float64),
        np.array(columns[2], dtype=np.uint8),
        np.array([], dtype=np.float64),
        np.array([], dtype=np.float64),
    )


def test_percentiles_are_exact() -> None:
    """Of 1000 latencies from 1 to 1000 ms, each percentile is one that occurred."""
    latency = measure(
        samples(*((1.0, 1 + each / 1000, 0) for each in range(1, 1001))), 0, 9
    ).latency
    assert latency is not None
    assert latency.p50 == pytest.approx(0.501)
    assert latency.p99 == pytest.approx(0.991)
    assert latency.p999 == pytest.approx(1.0)
    assert latency.max == pytest.approx(1.0)
    assert latency.mean == pytest.approx(0.5005)


def test_the_window_is_by_intention_and_the_rate_by_answers() -> None:
    """Warm-up is left out; what was asked in time counts with its latency whenever it is answered."""
    found = measure(
        samples((0.9, 1.1, 0), (1.2, 1.4, 0), (1.9, 5.0, 0), (1.5, 1.6, 14), (2.0, 2.1, 0)), 1, 2
    )
    assert (found.answered, found.errors, found.rate) == (2, {14: 1}, 2.0)
    assert found.latency is not None
    assert found.latency.max == pytest.approx(3.1)


def test_requests_cut_off_by_the_stop_count_nowhere() -> None:
    """They are neither answered nor errors of the server."""
    found = measure(samples((0.1, 0.2, CUT_OFF), (0.1, 0.3, 0)), 0, 1)
    assert (found.answered, found.failed) == (1, 0)


def test_a_stall_shows_in_the_percentiles() -> None:
    """No coordinated omission: all who came during a stall of the server waited for it.

    A server that takes 1 ms stands still for one of ten seconds. Of 100 requests per second
    a tenth come in that second; they wait half of it on average. Counted from when a client got
    round to sending, one request would have been slow.
    """
    due = schedule("poisson", 100, 10, seed=(3, 0), part=0, parts=1)
    finished, free = [], 0.0
    for moment in due:
        begin = max(moment, free)
        if 4.0 <= begin < 5.0:
            begin = 5.0
        free = begin + 0.001
        finished.append(free)
    found = measure(samples(*zip(due, finished, [0] * len(due), strict=True)), 0, 10)
    assert found.latency is not None
    assert found.latency.p50 < 0.01
    assert found.latency.p99 > 0.8
    assert found.latency.mean == pytest.approx(0.05, rel=0.3)


def test_nothing_answered_has_no_latency() -> None:
    """There is no number that would be true."""
    found = measure(samples((0.1, 0.2, 14)), 0, 1)
    assert (found.latency, found.rate, found.failed) == (None, 0.0, 1)


def test_samples_survive_a_file(tmp_path: Path) -> None:
    """What one process saves, another one loads and puts together with others."""
    one = samples((1.0, 2.0, 0))
    one.save(tmp_path / "one")
    both = Samples.together([Samples.load(tmp_path / "one"), samples((3.0, 4.0, 14))])
    assert both.intended.tolist() == [1.0, 3.0]
    assert both.codes.tolist() == [0, 14]


def test_lateness_is_of_the_window() -> None:
    """The 99th percentile of how late requests of the window were sent."""
    recorded = samples((0.5, 0.6, 0))
    recorded = Samples(
        recorded.intended,
        recorded.finished,
        recorded.codes,
        sent=np.array([0.1, 0.5, 1.5]),
        late=np.array([9.0, 0.002, 9.0]),
    )
    assert measure(recorded, 0.4, 1.0).late == pytest.approx(0.002)
