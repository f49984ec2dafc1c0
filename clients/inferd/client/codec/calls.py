"""Every RPC as a request to send and a way to read its answer; who sends it is not known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from inferd.client.codec.statistics import read_statistics
from inferd.client.errors import AnswerInvalid
from inferd.client.metadata import ModelState, ModelStatistics, ServerMetadata
from inferd.protos import oip_pb2 as oip
from inferd.protos.services import INFERENCE_METHODS

Result = TypeVar("Result")
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One RPC: its path, the serialised request, and what turns the answer's bytes into a result.

    `inputs` are the names of the request's tensors, for error messages. `read` raises
    `AnswerInvalid` for bytes that are no such answer.
    """

    path: str
    request: bytes
    read: Callable[[bytes], Result]
    inputs: tuple[str, ...] = ()


def server_live() -> Call[bool]:
    """Whether the server's process runs."""
    return _call("ServerLive", oip.ServerLiveRequest(), oip.ServerLiveResponse, lambda r: r.live)


def server_ready() -> Call[bool]:
    """Whether the server can take requests."""
    return _call(
        "ServerReady", oip.ServerReadyRequest(), oip.ServerReadyResponse, lambda r: r.ready
    )


def model_ready(name: str, version: str) -> Call[bool]:
    """Whether this model can take requests."""
    request = oip.ModelReadyRequest(name=name, version=version)
    return _call("ModelReady", request, oip.ModelReadyResponse, lambda r: r.ready)


def server_metadata() -> Call[ServerMetadata]:
    """The server's name, version and extensions."""
    return _call(
        "ServerMetadata",
        oip.ServerMetadataRequest(),
        oip.ServerMetadataResponse,
        lambda r: ServerMetadata(r.name, r.version, tuple(r.extensions)),
    )


def model_metadata(name: str, version: str) -> Call[oip.ModelMetadataResponse]:
    """A model's inputs and outputs."""
    request = oip.ModelMetadataRequest(name=name, version=version)
    return _call("ModelMetadata", request, oip.ModelMetadataResponse, lambda r: r)


def model_config(name: str, version: str) -> Call[oip.ModelConfigResponse]:
    """A model's batching and its optional inputs."""
    request = oip.ModelConfigRequest(name=name, version=version)
    return _call("ModelConfig", request, oip.ModelConfigResponse, lambda r: r)


def statistics(name: str, version: str) -> Call[tuple[ModelStatistics, ...]]:
    """Counts and times of the named model's versions; an empty name means all models."""
    request = oip.ModelStatisticsRequest(name=name, version=version)
    return _call("ModelStatistics", request, oip.ModelStatisticsResponse, read_statistics)


def repository_index(*, ready: bool) -> Call[tuple[ModelState, ...]]:
    """Every model version the server knows, or only those that are ready."""
    return _call(
        "RepositoryIndex",
        oip.RepositoryIndexRequest(ready=ready),
        oip.RepositoryIndexResponse,
        lambda r: tuple(ModelState(m.name, m.version, m.state, m.reason) for m in r.models),
    )


def load_model(name: str) -> Call[None]:
    """Load or reload a model."""
    request = oip.RepositoryModelLoadRequest(model_name=name)
    return _call("RepositoryModelLoad", request, oip.RepositoryModelLoadResponse, lambda _: None)


def unload_model(name: str) -> Call[None]:
    """Unload a model."""
    request = oip.RepositoryModelUnloadRequest(model_name=name)
    return _call(
        "RepositoryModelUnload", request, oip.RepositoryModelUnloadResponse, lambda _: None
    )


def parse(method: str, reply: type[Reply], payload: bytes) -> Reply:
    """The answer of `method`; raises `AnswerInvalid` for bytes that are not one."""
    try:
        return reply.FromString(payload)
    except DecodeError as error:
        raise AnswerInvalid(
            f"the {len(payload)} bytes that {method} answered are no {reply.DESCRIPTOR.full_name}"
        ) from error


PATHS: Mapping[str, str] = {name: method.path for name, method in INFERENCE_METHODS.items()}
"""The path of every RPC by its name."""


def _call(
    method: str, request: Message, reply: type[Reply], read: Callable[[Reply], Result]
) -> Call[Result]:
    return Call(PATHS[method], request.SerializeToString(), partial(_read, method, reply, read))


def _read(
    method: str, reply: type[Reply], read: Callable[[Reply], Result], payload: bytes
) -> Result:
    return read(parse(method, reply, payload))
