"""Differences of a server's statistics."""

from __future__ import annotations

import pytest

from inferd.bench.observed.served import served
from inferd.client.metadata import Duration, ModelStatistics


def statistics(requests: int, executions: int, version: str = "1") -> ModelStatistics:
    """So many requests of two rows: 1 ms queue, 2 ms input, 3 ms inference, 4 ms output each."""
    total, queue, before, infer, after = (
        Duration(requests, requests * at / 1000) for at in (0, 1, 2, 3, 4)
    )
    return ModelStatistics(
        name="m",
        version=version,
        last_inference=None,
        inference_count=requests * 2,
        execution_count=executions,
        success=total,
        fail=Duration(0, 0.0),
        queue=queue,
        compute_input=before,
        compute_infer=infer,
        compute_output=after,
        batches=(),
    )


def test_the_difference_is_per_request() -> None:
    """What was there before does not count; the batch is rows per execution."""
    found = served([statistics(100, 100)], [statistics(140, 110)])
    assert found is not None
    assert (found.requests, found.rows, found.batch) == (40, 80, 8.0)
    times = (found.queue, found.compute_input, found.compute_infer, found.compute_output)
    assert times == pytest.approx((0.001, 0.002, 0.003, 0.004))


def test_versions_add_up() -> None:
    """A version that came meanwhile began at nothing; so did one that was loaded anew."""
    new = served([statistics(10, 10)], [statistics(20, 20), statistics(5, 5, "2")])
    assert new is not None
    assert new.requests == 15
    again = served([statistics(100, 100)], [statistics(7, 7)])
    assert again is not None
    assert again.requests == 7


def test_nothing_served_is_nothing() -> None:
    """No means are made of no requests, nor of no statistics."""
    assert served([statistics(5, 5)], [statistics(5, 5)]) is None
    assert served([], []) is None
