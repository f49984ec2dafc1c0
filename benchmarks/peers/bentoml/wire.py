"""BentoML's requests as `server.py` declares them: JSON with the tensor as base64."""

from __future__ import annotations

import base64
import binascii
import json


def encode(values: bytes, _shape: tuple[int, ...], _model: str) -> bytes:
    """One request; its rows follow from the length."""
    return json.dumps({"tensors": [base64.b64encode(values).decode()]}).encode()


def decode(body: bytes) -> bytes:
    """The float32 values of the answer. Raises `ValueError` if it has none."""
    try:
        [answer] = json.loads(body)
        return base64.b64decode(answer, validate=True)
    except (ValueError, TypeError, binascii.Error) as error:
        raise ValueError(f"this is no answer of the BentoML service: {body[:200]!r}") from error
