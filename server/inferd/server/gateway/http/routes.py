"""The paths that are served, with what the OpenAPI document says of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from inferd.server.gateway.http.requests import InferRequest
from inferd.server.gateway.http.service import IndexRequest, RepositoryRequest

NAME = "{name}"
VERSION = "{version}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One path and method. `endpoint` names the method of `HttpService` that answers.

    `reply` names a schema of `openapi.py`; `errors` are statuses of its own, beside those that
    every operation may have.
    """

    path: str
    method: Literal["GET", "POST"]
    endpoint: str
    summary: str
    reply: str
    body: type[msgspec.Struct] | None = None
    errors: tuple[int, ...] = ()


def _of_models(
    suffix: str,
    endpoint: str,
    summary: str,
    reply: str,
    *,
    method: Literal["GET", "POST"] = "GET",
    body: type[msgspec.Struct] | None = None,
    errors: tuple[int, ...] = (),
) -> tuple[Operation, ...]:
    """The same for the latest version of a model, and for one that is named."""
    paths = {
        f"/v2/models/{NAME}{suffix}": summary,
        f"/v2/models/{NAME}/versions/{VERSION}{suffix}": f"{summary}, one version",
    }
    return tuple(
        Operation(path, method, endpoint, text, reply, body, (400, 404, *errors))
        for path, text in paths.items()
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation("/v2/health/live", "GET", "live", "Whether the server answers", "Live"),
    Operation("/v2/health/ready", "GET", "ready", "Whether the server is ready", "Ready"),
    Operation("/v2", "GET", "metadata", "Name, version and extensions", "ServerMetadata"),
    Operation(
        "/v2/models/stats", "GET", "model_statistics", "Statistics of all models", "Statistics"
    ),
    *_of_models("", "model_metadata", "A model's inputs and outputs", "ModelMetadata"),
    *_of_models("/ready", "model_ready", "Whether a model is ready", "ModelReady"),
    *_of_models("/config", "model_config", "A model's configuration", "ModelConfig"),
    *_of_models("/stats", "model_statistics", "Statistics of a model", "Statistics"),
    *_of_models(
        "/infer",
        "infer",
        "Execute a model",
        "InferResponse",
        method="POST",
        body=InferRequest,
        errors=(413, 415, 429, 501, 504),
    ),
    Operation(
        "/v2/repository/index",
        "POST",
        "repository_index",
        "Every version of every model, and its state",
        "RepositoryIndex",
        IndexRequest,
        (400, 413, 415, 504),
    ),
    *(
        Operation(
            f"/v2/repository/models/{NAME}/{verb}",
            "POST",
            verb,
            summary,
            "Done",
            RepositoryRequest,
            (400, 403, 404, 413, 415, 501, 504),
        )
        for verb, summary in (
            ("load", "Load a model's files anew and serve them"),
            ("unload", "Stop serving a model"),
        )
    ),
)
