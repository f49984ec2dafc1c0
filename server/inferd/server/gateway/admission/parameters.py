"""Request parameters: the protocol's own, the caller's, and those nobody may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferd.server.gateway.scheduling.sequences.active import SequenceAsk
from inferd.wire.errors import InvalidRequest, Unimplemented
from inferd.wire.requests import Parameter

_IGNORED = frozenset({"binary_data_output", "headers"})
"""Reserved for HTTP; a gRPC request may carry them without meaning."""

EMPTY_FINAL = "triton_enable_empty_final_response"
"""Asks for a last answer without outputs where a generator ends without one; else without effect."""

TIMINGS = "inferd_timings"
"""Asks for what the request took, as parameters of its answer."""

_MAX_SEQUENCE_ID = 128


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """What the parameters of one request ask for. `timeout` in seconds, for waiting in the queue."""

    timeout: float | None
    custom: dict[str, Parameter]
    sequence: SequenceAsk | None = None


def read_parameters(parameters: dict[str, Parameter]) -> RequestParameters:
    """Sort and check the parameters of a unary request.

    Raises `InvalidRequest` for wrong types, bad values and reserved names.
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
    timeout = float(micros) / 1e6 if micros else None
    return RequestParameters(timeout, custom, _sequence(parameters))


def _sequence(parameters: dict[str, Parameter]) -> SequenceAsk | None:
    """What is asked of a sequence; its id is 0 or empty where only flags are set."""
    name = parameters.get("sequence_id", 0)
    start = bool(parameters.get("sequence_start"))
    end = bool(parameters.get("sequence_end"))
    if not (name or start or end) or not isinstance(name, int | str):
        return None
    return SequenceAsk(name, start, end)


def _sequence_id(key: str, value: Parameter) -> None:
    if isinstance(value, bool | float):
        raise _wrong_type(key, value, "int64_param or string_param")
    if isinstance(value, str) and len(value) > _MAX_SEQUENCE_ID:
        raise InvalidRequest(
            f"sequence_id has {len(value)} characters, at most {_MAX_SEQUENCE_ID} are taken",
            field=f"parameters[{key}]",
        )


def for_sequences(
    asked: RequestParameters | None, model: str, *, offered: bool
) -> SequenceAsk | None:
    """What a request to this model asks of its sequence; None where the model has none.

    Raises `Unimplemented` for a sequence of a model that has none, and `InvalidRequest` for a
    request without one to a model whose requests belong to one.
    """
    sequence = asked.sequence if asked is not None else None
    if not offered:
        if sequence is not None:
            raise _no_sequences(model)
        return None
    if sequence is None or not sequence.id:
        raise InvalidRequest(
            f"inference request to model '{model}' must specify a non-zero or non-empty "
            "correlation ID: send sequence_id",
            field="parameters[sequence_id]",
        )
    return sequence


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


def _no_sequences(model: str) -> Unimplemented:
    return Unimplemented(
        f"model '{model}' has no sequences: it keeps no state between requests; "
        "send the request without sequence_id, sequence_start and sequence_end"
    )


_RESERVED: dict[str, Callable[[str, Parameter], object]] = {
    "timeout": _integer,
    "priority": _integer,  # there is one priority level: any number means the default one
    "sequence_id": _sequence_id,
    "sequence_start": _flag,
    "sequence_end": _flag,
    EMPTY_FINAL: _flag,
    TIMINGS: _flag,
}
