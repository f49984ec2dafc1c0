"""What all messages are made of."""

from __future__ import annotations

import msgspec

ParameterValue = bool | int | float | str


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages."""


class Fault(msgspec.Struct, frozen=True, array_like=True):
    """An error on its way to a caller: the reason of a `ServingError`, its text, when to retry."""

    reason: str
    message: str
    retry_after: float | None = None
