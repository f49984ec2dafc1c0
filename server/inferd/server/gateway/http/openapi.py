"""The OpenAPI document: schemas of requests from the types that read them, the rest by hand."""

from __future__ import annotations

import re
from importlib.metadata import version as package_version
from typing import Any

import msgspec

from inferd.server.gateway.http.requests import InferRequest
from inferd.server.gateway.http.routes import OPERATIONS, Operation
from inferd.server.gateway.http.service import IndexRequest, RepositoryRequest

PATH = "/v2/openapi.json"

Schema = dict[str, Any]

_COMPONENT = "#/components/schemas/{name}"

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}

_STATUSES = {
    200: "Done.",
    400: "The request is malformed or does not fit the model.",
    403: "The operator has switched this off.",
    404: "There is no such model or version.",
    413: "The request has more bytes than `max_message_bytes`.",
    415: "The body's Content-Encoding is not understood.",
    429: "A limit was reached, such as that of the queue; a retry would feed the overload.",
    500: "The model's code or the server failed.",
    501: "This server does not offer it.",
    503: "The model or the server is not ready; a retry may succeed.",
    504: "The request's time was over before it was executed.",
}

_PARAMETERS = {
    "name": {
        "description": "The model's name.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"},
    },
    "version": {
        "description": "A number; without it the latest version is meant.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    },
}


def openapi_document() -> dict[str, Any]:
    """The whole document, for OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths[PATH] = {
        "get": {
            "operationId": "openapi",
            "summary": "This document",
            "responses": _responses({"type": "object"}, ()),
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "inferd",
            "version": package_version("inferd"),
            "description": "The Open Inference Protocol, REST v2, with binary tensor data.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    several = "versions" in operation.path
    name = operation.endpoint + ("_of_version" if several else "")
    if "{" not in operation.path and operation.endpoint == "model_statistics":
        name = "all_statistics"
    described: dict[str, Any] = {"operationId": name, "summary": operation.summary}
    names = re.findall(r"{(\w+)}", operation.path)
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, **_PARAMETERS[name]} for name in names
        ]
    binary = operation.endpoint == "infer"
    if operation.body is not None:
        content: Schema = {"application/json": {"schema": _reference(operation.body.__name__)}}
        described["requestBody"] = {"required": binary, "content": content}
        if binary:
            described["description"] = _INFER
    described["responses"] = _responses(
        _reference(operation.reply), operation.errors, binary=binary
    )
    return described


_INFER = (
    "Tensors may also come as bytes behind the JSON, and go so: see `binary_data_size`, "
    "`binary_data`, `binary_data_output` and the header `Inference-Header-Content-Length` of the "
    "binary tensor data extension. Bodies may be packed with gzip or deflate."
)


def _responses(reply: Schema, errors: tuple[int, ...], *, binary: bool = False) -> Schema:
    content: Schema = {"application/json": {"schema": reply}}
    if binary:
        content["application/octet-stream"] = {}
    responses: Schema = {"200": {"description": _STATUSES[200], "content": content}}
    for status in sorted({*errors, 500, 503}):
        responses[str(status)] = {
            "description": _STATUSES[status],
            "content": {"application/json": {"schema": _reference("Error")}},
        }
    return responses


def _reference(name: str) -> Schema:
    return {"$ref": _COMPONENT.format(name=name)}


def _schemas() -> dict[str, Any]:
    kinds = [InferRequest, IndexRequest, RepositoryRequest]
    _, components = msgspec.json.schema_components(kinds, ref_template=_COMPONENT)
    data: Schema = {
        "description": "One list of all elements, or lists nested as the shape.",
        "type": "array",
    }
    components["InputTensor"]["properties"]["data"] = data
    return {**components, **_REPLIES}


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TENSOR = _object({"name": _TEXT, "datatype": _TEXT, "shape": _list(_NUMBER)})
_SPENT = _object({"count": _NUMBER, "ns": _NUMBER})

_REPLIES: Schema = {
    "Error": _object({"error": _TEXT, "reason": _TEXT, "field": _TEXT}, optional=("field",)),
    "Live": _object({"live": _FLAG}),
    "Ready": _object({"ready": _FLAG}),
    "ModelReady": _object({"name": _TEXT, "ready": _FLAG}),
    "Done": {"type": "object"},
    "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "ModelMetadata": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_TENSOR),
            "outputs": _list(_TENSOR),
        }
    ),
    "ModelConfig": _object(
        {
            "name": _TEXT,
            "platform": _TEXT,
            "backend": _TEXT,
            "max_batch_size": _NUMBER,
            "input": _list({"type": "object"}),
            "output": _list({"type": "object"}),
        }
    ),
    "Statistics": _object(
        {
            "model_stats": _list(
                _object(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "last_inference": _NUMBER,
                        "inference_count": _NUMBER,
                        "execution_count": _NUMBER,
                        "inference_stats": _object(
                            dict.fromkeys(
                                (
                                    "success",
                                    "fail",
                                    "queue",
                                    "compute_input",
                                    "compute_infer",
                                    "compute_output",
                                ),
                                _SPENT,
                            )
                        ),
                        "batch_stats": _list({"type": "object"}),
                        "memory_usage": _list(
                            _object({"type": _TEXT, "id": _NUMBER, "byte_size": _NUMBER})
                        ),
                        "response_stats": {
                            "type": "object",
                            "additionalProperties": _object(
                                dict.fromkeys(
                                    (
                                        "compute_infer",
                                        "compute_output",
                                        "success",
                                        "fail",
                                        "empty_response",
                                        "cancel",
                                    ),
                                    _SPENT,
                                )
                            ),
                        },
                    }
                )
            )
        }
    ),
    "RepositoryIndex": _list(
        _object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})
    ),
    "InferResponse": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": {"type": "object"},
            "outputs": _list(
                _object(
                    {
                        "name": _TEXT,
                        "datatype": _TEXT,
                        "shape": _list(_NUMBER),
                        "parameters": {"type": "object"},
                        "data": {"type": "array"},
                    },
                    optional=("parameters", "data"),
                )
            ),
        },
        optional=("id", "parameters"),
    ),
}
