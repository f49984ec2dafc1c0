"""Clocks: one that runs, one that is set."""

from __future__ import annotations

import pytest

from inferd.core.clock import ManualClock, SystemClock


def test_system_clock_never_goes_back() -> None:
    """Two looks are in order."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()


def test_manual_clock_goes_only_when_told() -> None:
    """It stands still, goes on by what it is told, and never back."""
    clock = ManualClock(5.0)
    assert clock.monotonic() == clock.monotonic() == 5.0
    clock.advance(1.5)
    assert clock.monotonic() == 6.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
