"""Answers over HTTP: JSON, JSON with tensors behind it, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import formatdate
from math import ceil
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from inferd.protos.oip_pb2 import InferParameter
from inferd.server.gateway.http.requests import Encoded
from inferd.server.gateway.http.tensor_data import data_of
from inferd.wire.answers import split_answer
from inferd.wire.errors import MethodNotAllowed, ServingError
from inferd.wire.status import http_status_of, message_of
from inferd.wire.tensors import Buffer

JSON_LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON; tensors' bytes follow."""

Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")


class Answer:
    """A whole answer in pieces, which are sent as they are."""

    def __init__(self, status: int, pieces: Sequence[Buffer], headers: Headers) -> None:
        self.status = status
        self._pieces = [piece for piece in pieces if len(piece)]
        self._headers = headers

    @property
    def nbytes(self) -> int:
        """The size of its body."""
        return sum(len(piece) for piece in self._pieces)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; what ASGI calls an application."""
        date = formatdate(usegmt=True).encode()
        length = (b"content-length", str(self.nbytes).encode())
        headers = [(b"date", date), length, *self._headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        last = len(self._pieces) - 1
        for index, piece in enumerate(self._pieces):
            more = index != last
            await send({"type": "http.response.body", "body": piece, "more_body": more})


def json_answer(document: object, status: int = 200) -> Answer:
    """This document."""
    return Answer(status, [msgspec.json.encode(document)], [_JSON])


def error_answer(error: ServingError) -> Answer:
    """What went wrong, under `error` as Triton has it, with its stable `reason`."""
    document: dict[str, Any] = {"error": message_of(error), "reason": error.reason}
    if error.field is not None:
        document["field"] = error.field[:128]
    headers = [_JSON]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, ceil(error.retry_after))).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.metadata["allow"].encode()))
    return Answer(http_status_of(error), [msgspec.json.encode(document)], headers)


def inference_answer(payload: bytes, request: Encoded) -> Answer:
    """The serialised ModelInferResponse in the form that the request asked for.

    Raises `InvalidRequest` for an output asked for in JSON that JSON does not carry.
    """
    response, raw = split_answer(payload)
    document: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = _values_of(response.parameters)
    outputs: list[dict[str, Any]] = []
    behind: list[Buffer] = []
    any_binary = False
    for output, tensor in zip(response.outputs, raw, strict=True):
        shape = tuple(output.shape)
        head: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": shape}
        outputs.append(head)
        if output.parameters:  # it lies in shared memory
            head["parameters"] = _values_of(output.parameters)
            continue
        if request.binary.get(output.name, request.binary_by_default):
            any_binary = True
            head["parameters"] = {"binary_data_size": len(tensor)}
            behind.append(tensor)
        else:
            head["data"] = data_of(tensor, output.name, output.datatype, shape)
    document["outputs"] = outputs
    text = msgspec.json.encode(document)
    if not any_binary:
        return Answer(200, [text], [_JSON])
    length = (JSON_LENGTH.lower().encode(), str(len(text)).encode())
    return Answer(200, [text, *behind], [_BINARY, length])


def _values_of(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    return {
        key: getattr(value, value.WhichOneof("parameter_choice") or "bool_param")
        for key, value in sorted(parameters.items())
    }
