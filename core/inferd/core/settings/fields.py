"""The kinds of values that settings have, and what is said of others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from inferd.core.address import Address

_SIZE = re.compile(r"\s*(\d+)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)
_UNITS = {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"": 1, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}

_PLAIN = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_type": "expected text",
    "path_type": "expected text",
    "model_type": "expected a table",
    "dict_type": "expected a table",
    "bool_parsing": "expected true or false",
    "int_parsing": "expected a whole number",
    "float_parsing": "expected a number",
}
_BOUNDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}

MOST_GATEWAYS = 64
"""More would only share out the same cores."""


def _size(value: object) -> object:
    """Bytes from text such as `64MiB`; other things are left to pydantic."""
    if not isinstance(value, str):
        return value
    if (found := _SIZE.fullmatch(value)) is None:
        raise ValueError("expected a size such as 67108864, 64MiB or 64MB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _listed(value: object) -> object:
    """A list from comma-separated text, as variables carry it."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _versions(value: object) -> object:
    if value in ("latest", "all") or value is None:
        return value
    if isinstance(value, list | tuple) and value and all(type(v) is int and v > 0 for v in value):
        return tuple(value)
    raise ValueError('expected "latest", "all" or a list of version numbers such as [1, 3]')


def _gateways(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is int and 1 <= value <= MOST_GATEWAYS:
        return value
    raise ValueError(f"expected auto or a number of processes from 1 to {MOST_GATEWAYS}")


def _address(value: object) -> object:
    return value if isinstance(value, Address) else Address.parse(value)


def _address_or_off(value: object) -> object:
    return None if value == "off" else _address(value)


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""From 0, none, to 1, all."""
AddressField = Annotated[Address, BeforeValidator(_address)]
AddressOrOff = Annotated[Address | None, BeforeValidator(_address_or_off)]
Gateways = Annotated[int | Literal["auto"], BeforeValidator(_gateways)]
Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Versions = Literal["latest", "all"] | tuple[int, ...]
VersionsField = Annotated[Versions, BeforeValidator(_versions)]


def expectation(message: str, kind: str) -> str:
    """What pydantic expected, given its message and kind of error, in a person's words."""
    text = message.removeprefix("Value error, ").replace("Input should be", "expected", 1)
    for theirs, ours in _BOUNDS.items():
        text = text.replace(theirs, ours)
    return _PLAIN.get(kind, text)
