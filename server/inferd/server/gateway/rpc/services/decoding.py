"""Parsing the small requests of everything but inference."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from inferd.wire.errors import InvalidRequest

Request = TypeVar("Request", bound=Message)


def decode(kind: type[Request], payload: bytes) -> Request:
    """The message in `payload`. Raises `InvalidRequest` for bytes that are none."""
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise InvalidRequest(
            f"the {len(payload)} bytes received are not a {kind.DESCRIPTOR.full_name}",
            reason="MALFORMED_MESSAGE",
        ) from error
