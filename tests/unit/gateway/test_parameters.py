"""Request parameters: reserved ones are checked, the rest is the model's."""

from __future__ import annotations

import pytest

from inferd.server.gateway.admission.parameters import for_sequences, read_parameters
from inferd.server.gateway.scheduling.sequences.active import SequenceAsk
from inferd.wire.errors import InvalidRequest, Unimplemented
from inferd.wire.requests import Parameter


def test_unknown_parameters_are_for_the_model() -> None:
    """Values of every kind arrive untouched; HTTP's own and the protocol's do not."""
    given: dict[str, Parameter] = {
        "a": True, "b": -1, "c": 0.5, "d": "x", "headers": "h", "binary_data_output": True,
        "priority": 1, "timeout": 5,
    }  # fmt: skip
    assert read_parameters(given).custom == {"a": True, "b": -1, "c": 0.5, "d": "x"}


def test_timeout_is_in_microseconds_and_zero_means_none() -> None:
    """What is left out or zero sets no deadline."""
    assert read_parameters({"timeout": 1_500_000}).timeout == 1.5
    assert read_parameters({"timeout": 0}).timeout is None
    assert read_parameters({}).timeout is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", -1),  # M78
        ("timeout", "1"),
        ("timeout", True),
        ("timeout", 0.5),
        ("priority", -1),  # M80
        ("priority", "high"),
        ("sequence_start", 1),  # M77: wrong types of reserved names
        ("sequence_end", "yes"),
        ("sequence_id", True),
        ("sequence_id", 0.5),
        ("triton_enable_empty_final_response", 1),
        ("triton_final_response", True),
        ("triton_", "x"),
        ("triton_" + "x" * 1000, 1),
    ],
)
def test_reserved_names_are_guarded(key: str, value: Parameter) -> None:
    """Wrong types, bad values and names that Triton keeps are refused by name."""
    with pytest.raises(InvalidRequest) as caught:
        read_parameters({key: value})
    assert caught.value.field == f"parameters[{key[:64]}]"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("key", "value"),
    [("sequence_id", 7), ("sequence_id", "s"), ("sequence_start", True), ("sequence_end", True)],
)
def test_models_without_state_have_no_sequences(key: str, value: Parameter) -> None:
    """A request that asks for one is refused, not executed without it."""
    asked = read_parameters({key: value})
    with pytest.raises(Unimplemented, match="'m' has no sequences"):
        for_sequences(asked, "m", offered=False)


def test_sequences_are_read() -> None:
    """By number or by text, with both flags; they do not reach the model as parameters."""
    asked = read_parameters({"sequence_id": "s", "sequence_start": True, "k": 1})
    assert for_sequences(asked, "m", offered=True) == SequenceAsk("s", start=True, end=False)
    assert asked.custom == {"k": 1}
    asked = read_parameters({"sequence_id": -7, "sequence_end": True})
    assert for_sequences(asked, "m", offered=True) == SequenceAsk(-7, start=False, end=True)
    with pytest.raises(InvalidRequest, match="at most 128"):
        read_parameters({"sequence_id": "s" * 129})


@pytest.mark.parametrize("given", [None, {}, {"sequence_id": 0}, {"sequence_start": True}])
def test_models_with_state_need_a_sequence(given: dict[str, Parameter] | None) -> None:
    """Flags alone are none."""
    asked = None if given is None else read_parameters(given)
    with pytest.raises(InvalidRequest, match="must specify a non-zero or non-empty correlation ID"):
        for_sequences(asked, "m", offered=True)


def test_what_says_no_sequence_is_harmless() -> None:
    """Some clients always send the three of them."""
    given: dict[str, Parameter] = {
        "sequence_id": 0, "sequence_start": False, "sequence_end": False,
        "triton_enable_empty_final_response": True,
    }  # fmt: skip
    asked = read_parameters(given)
    assert asked.custom == {}
    assert for_sequences(asked, "m", offered=False) is None
