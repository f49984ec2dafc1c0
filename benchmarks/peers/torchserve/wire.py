"""TorchServe's own gRPC messages, of which two fields matter, written and read by hand.

`PredictionsRequest { string model_name = 1; map<string, bytes> input = 3; }` and
`PredictionResponse { bytes prediction = 1; }`
"""

from __future__ import annotations

_NAME, _INPUT, _PREDICTION = 0x0A, 0x1A, 0x0A  # tags: field number, length-delimited
_KEY, _VALUE = 0x0A, 0x12


def encode(values: bytes, _: tuple[int, ...], model: str) -> bytes:
    """A request with the tensor's bytes under the key `data`."""
    entry = _field(_KEY, b"data") + _field(_VALUE, values)
    return _field(_NAME, model.encode()) + _field(_INPUT, entry)


def decode(body: bytes) -> bytes:
    """The bytes of the prediction. Raises `ValueError`."""
    if not body or body[0] != _PREDICTION:
        raise ValueError(f"no PredictionResponse: {body[:40]!r}")
    size, at = _varint(body, 1)
    return body[at : at + size]


def _field(tag: int, content: bytes) -> bytes:
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes((tag,)) + bytes(length) + content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
