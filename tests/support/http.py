"""Plain HTTP calls, and inference requests in every form that they have over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferd.protos.oip_pb2 import InferParameter, ModelInferRequest

LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class HttpOutcome:
    """How a request ended; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON of the answer, without the tensors behind it."""
        length = self.headers.get(LENGTH.lower())
        return json.loads(self.body if length is None else self.body[: int(length)])

    @property
    def behind(self) -> bytes:
        """The bytes behind the JSON."""
        return self.body[int(self.headers[LENGTH.lower()]) :]


def ask(
    address: str,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
) -> HttpOutcome:
    """One request on a connection of its own; with a body it is a POST."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        return send(connection, path, body, headers, method=method)
    finally:
        connection.close()


def send(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
) -> HttpOutcome:
    """One request on this connection."""
    begin(connection, path, body, headers, method=method)
    return end(connection)


def begin(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
) -> None:
    """Send a request without waiting for its answer."""
    sent = json.dumps(body).encode() if isinstance(body, dict) else body
    method = method or ("GET" if sent is None else "POST")
    connection.request(method, path, sent, dict(headers or {}))


def end(connection: http.client.HTTPConnection) -> HttpOutcome:
    """Wait for the answer."""
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return HttpOutcome(response.status, headers, response.read())


def as_http(message: ModelInferRequest) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of the same request over HTTP, its raw tensors behind the JSON."""
    inputs: list[dict[str, Any]] = []
    raw = list(message.raw_input_contents)
    for each in message.inputs:
        parameters = _plain(each.parameters)
        if raw:
            parameters["binary_data_size"] = len(raw[len(inputs)])
        inputs.append(
            {
                "name": each.name,
                "datatype": each.datatype,
                "shape": list(each.shape),
                "parameters": parameters,
            }
        )
    outputs = [
        {"name": each.name, "parameters": _plain(each.parameters)} for each in message.outputs
    ]
    document = {
        "id": message.id,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {**_plain(message.parameters), "binary_data_output": True},
    }
    text = json.dumps(document).encode()
    version = f"/versions/{message.model_version}" if message.model_version else ""
    path = f"/v2/models/{message.model_name}{version}/infer"
    return path, b"".join([text, *raw]), {LENGTH: str(len(text))}


def _plain(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    return {
        key: getattr(value, str(value.WhichOneof("parameter_choice")))
        for key, value in parameters.items()
    }
