"""Request parameters: reserved ones are checked, the rest is the model's."""

from __future__ import annotations

import pytest

from inferd.server.gateway.admission.parameters import read_parameters
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
def test_sequences_are_not_offered(key: str, value: Parameter) -> None:
    """A request that asks for one is refused, not executed without it."""
    with pytest.raises(Unimplemented):
        read_parameters({key: value})


def test_what_says_no_sequence_is_harmless() -> None:
    """Some clients always send the three of them."""
    given: dict[str, Parameter] = {
        "sequence_id": 0, "sequence_start": False, "sequence_end": False,
        "triton_enable_empty_final_response": True,
    }  # fmt: skip
    assert read_parameters(given).custom == {}
