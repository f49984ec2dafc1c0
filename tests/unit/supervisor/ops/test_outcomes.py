"""Which outcome an error is."""

from __future__ import annotations

import pytest

from inferd.core.telemetry.metrics import OUTCOMES
from inferd.server.supervisor.ops.outcomes import known, outcome_of
from inferd.wire.errors import error_types


def test_every_error_of_ours_is_one_of_the_outcomes() -> None:
    """And none of them passes for a success."""
    found = {reason: outcome_of(reason) for reason in error_types()}
    assert set(found.values()) <= set(OUTCOMES) - {"ok"}
    assert {known(reason) for reason in found} == set(found)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("INVALID_REQUEST", "invalid"),
        ("MODEL_NOT_FOUND", "invalid"),
        ("MESSAGE_TOO_LARGE", "invalid"),
        ("QUEUE_FULL", "overload"),
        ("MODEL_OOM", "failed"),
        ("DEADLINE_EXCEEDED", "expired"),
        ("WORKER_LOST", "unavailable"),
        ("MODEL_ERROR", "failed"),
        ("INTERNAL_ERROR", "failed"),
        ("MADE_UP", "failed"),
    ],
)
def test_blame_goes_where_it_belongs(reason: str, outcome: str) -> None:
    """A caller's mistake spends nothing of the error budget, ours does."""
    assert outcome_of(reason) == outcome
