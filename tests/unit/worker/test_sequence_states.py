"""States of sequences in the worker, as models see them."""

from __future__ import annotations

import pytest

from inferd.core.link.messages import SequenceStep
from inferd.worker.runner.sequences import SequenceStates


def step(number: int, flags: str = "") -> SequenceStep:
    """A request; `flags` are `s` for the start and `e` for the end."""
    return SequenceStep(number, f"id{number}", "s" in flags, "e" in flags)


def test_state_lasts_from_start_to_end() -> None:
    """Each sequence has its own; a second start empties it."""
    states = SequenceStates()
    with states.step(step(1, "s")) as sequence:
        sequence.state["n"] = 1
    with states.step(step(2, "s")) as other:
        assert other.state == {}
    with states.step(step(1)) as sequence:
        assert (sequence.id, sequence.state) == ("id1", {"n": 1})
    with states.step(step(1, "s")) as sequence:
        assert sequence.state == {}
    with states.step(step(1, "e")) as sequence:
        assert sequence.end
    assert len(states) == 1


def test_state_goes_with_an_end_that_fails() -> None:
    """And stays when anything else does."""
    states = SequenceStates()
    with pytest.raises(ZeroDivisionError), states.step(step(1, "s")):
        raise ZeroDivisionError
    assert len(states) == 1
    with pytest.raises(ZeroDivisionError), states.step(step(1, "e")):
        raise ZeroDivisionError
    assert len(states) == 0


def test_what_was_dropped_is_not_known() -> None:
    """One or all; dropping what is not there is no mistake."""
    states = SequenceStates()
    for number in (1, 2, 3):
        with states.step(step(number, "s")):
            pass
    states.drop(1)
    states.drop(1)
    with pytest.raises(LookupError), states.step(step(1)):
        pass
    states.clear()
    assert len(states) == 0
