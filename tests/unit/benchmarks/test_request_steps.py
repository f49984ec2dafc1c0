"""The table of costs has every step of a request, once."""

from __future__ import annotations

import pytest
from request_steps.order import ALTERNATIVES, INSIDE, STEPS
from request_steps.path import RequestPath


class _Laps:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def restart(self) -> None:
        """Time does not matter here."""

    def lap(self, step: str) -> None:
        self.steps.append(step)

    def told(self, step: str, nanoseconds: int) -> None:
        assert nanoseconds > 0
        self.steps.append(step)


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_each_step_is_measured_once_a_pass_and_in_order(batch: int) -> None:
    """Requests that fell into two batches, or a step without a row, would make the sum wrong."""
    laps = _Laps()
    with RequestPath((16,), batch) as path:
        path.run_once(laps)
        path.run_once(laps)
    once = [step.name for step in (*ALTERNATIVES, *STEPS)]
    for step, inner in INSIDE.items():
        once.insert(once.index(step) + 1, inner)
    assert laps.steps == once * 2
