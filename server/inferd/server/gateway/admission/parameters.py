"""Request parameters: the protocol's own, the caller's, and those nobody may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferd.wire.errors import InvalidRequest, Unimplemented
from inferd.wire.requests import Parameter

_IGNORED = frozenset({"binary_data_output", "headers"})
"""Reserved for HTTP; a gRPC request may carry them without meaning."""

EMPTY_FINAL = "triton_enable_empty_final_response"
"""Asks for a last answer without outputs where a generator ends without one; else without effect."""


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """What the parameters of one request ask for. `timeout` in seconds, for waiting in the queue."""

    timeout: float | None
    custom: dict[str, Parameter]


def read_parameters(parameters: dict[str, Parameter]) -> RequestParameters:
    """Sort and check the parameters of a unary request.

    Raises `InvalidRequest` for wrong types, bad values and reserved names, and `Unimplemented`
    for sequences.
    """
    custom: dict[str, Parameter] = {}
    for key, value in parameters.items():
        check = _RESERVED.get(key)
        if check is not None:
            check(key, value)
        elif key.startswith("triton_"):
            raise InvalidRequest(
                f"parameter '{key[:64]}' starts with 'triton_', which is reserved",
                field=f"parameters[{key[:64]}]",
            )
        elif key not in _IGNORED:
            custom[key] = value
    micros = parameters.get("timeout")
    return RequestParameters(float(micros) / 1e6 if micros else None, custom)


def _sequence_flag(key: str, value: Parameter) -> None:
    if _flag(key, value):
        raise _no_sequences()


def _sequence_id(key: str, value: Parameter) -> None:
    if isinstance(value, bool | float):
        raise _wrong_type(key, value, "int64_param or string_param")
    if value not in (0, ""):
        raise _no_sequences()


def _flag(key: str, value: Parameter) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(key, value, "bool_param")
    return value


def _integer(key: str, value: Parameter) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(key, value, "int64_param")
    if value < 0:
        raise InvalidRequest(
            f"parameter '{key}' is {value}, expected 0 or more", field=f"parameters[{key}]"
        )
    return value


def _wrong_type(key: str, value: Parameter, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"invalid value type for '{key}': got a {type(value).__name__}, expected {expected}",
        field=f"parameters[{key}]",
    )


def _no_sequences() -> Unimplemented:
    return Unimplemented(
        "sequences are not offered: this server's models keep no state between requests; "
        "send the request without sequence_id, sequence_start and sequence_end"
    )


_RESERVED: dict[str, Callable[[str, Parameter], object]] = {
    "timeout": _integer,
    "priority": _integer,  # there is one priority level: any number means the default one
    "sequence_id": _sequence_id,
    "sequence_start": _sequence_flag,
    "sequence_end": _sequence_flag,
    EMPTY_FINAL: _flag,
}
