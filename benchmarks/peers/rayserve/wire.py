"""Ray Serve's requests as `tensors.py` declares them: a protobuf BytesValue in and out."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue


def encode(values: bytes, _shape: tuple[int, ...], _model: str) -> bytes:
    """One request; its rows follow from the length."""
    return BytesValue(value=values).SerializeToString()


def decode(body: bytes) -> bytes:
    """The float32 values of the answer. Raises `ValueError` if it has none."""
    try:
        return BytesValue.FromString(body).value
    except DecodeError as error:
        raise ValueError(f"this is no BytesValue: {body[:200]!r}") from error
