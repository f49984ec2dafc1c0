"""What a running server tells about itself and its models."""

from __future__ import annotations

from dataclasses import dataclass

from inferd.client import (
    Client,
    InferenceError,
    ModelMetadata,
    ModelNotFound,
    ModelState,
    ModelStatistics,
    NotFound,
    ServerMetadata,
    ServerUnavailable,
    Unsupported,
    connect,
)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model version; metadata and statistics only where the server has them."""

    state: ModelState
    metadata: ModelMetadata | None
    statistics: ModelStatistics | None


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server and its models, or the versions of the one that was asked for."""

    address: str
    server: ServerMetadata
    ready: bool
    models: tuple[ModelReport, ...]


def ask_server(address: str, model: str | None, timeout: float) -> ServerReport:
    """The report of the server at `address`, of all models or of the one named `model`.

    Raises `InferenceError` where the server does not answer or does not know the model, `ValueError`
    for what is no address.
    """
    with connect(address, timeout=timeout) as client:
        server = client.metadata()
        states = [each for each in _states(client, model) if model in (None, each.name)]
        if model is not None and not states:
            raise ModelNotFound(f"the server at {address} has no model '{model}'")
        reports = tuple(_model(client, state) for state in states)
        return ServerReport(address, server, client.server_ready(), reports)


def _states(client: Client, model: str | None) -> tuple[ModelState, ...]:
    try:
        return client.models()
    except Unsupported:  # not every server has an index: ask for the one model by its name
        if model is None or not client.model(model).ready():
            return ()
        return (ModelState(model, "", "READY", ""),)


def _model(client: Client, state: ModelState) -> ModelReport:
    if not state.ready:
        return ModelReport(state, None, None)
    model = client.model(state.name, state.version or None)
    try:
        metadata = model.metadata()
    except (NotFound, ServerUnavailable):  # gone since the index was made
        return ModelReport(state, None, None)
    try:
        statistics = next(iter(model.statistics()), None)
    except InferenceError:
        statistics = None
    return ModelReport(state, metadata, statistics)
