"""What is put under load: a model of a server, found and tried before the load begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferd.bench.observed.footprint import ServerTree, Unseen, server_root
from inferd.bench.payload import Payload, Wanted, payload_of
from inferd.bench.plan import PlanError
from inferd.bench.result import Target
from inferd.client import (
    Client,
    InferenceError,
    Model,
    ModelNotReady,
    ModelStatistics,
    NotFound,
    Unsupported,
)
from inferd.client.codec.calls import PATHS, Call
from inferd.wire.suggestion import did_you_mean


class Subject:
    """A model that answers, with the request to send and ways to look at its server."""

    def __init__(
        self, client: Client, model: Model, payload: Payload, tree: ServerTree | Unseen
    ) -> None:
        self._client = client
        self._model = model
        self.payload = payload
        self.tree = tree if isinstance(tree, ServerTree) else None
        self.address = client.address
        self.name = model.name
        self.version = model.version
        self.server = _server(client)
        self.notes: list[str] = []
        """What cannot be seen of the server, and why."""
        self._without_statistics = False
        if isinstance(tree, Unseen):
            self.notes.append(
                f"CPU and memory of the server were not measured: {tree}; --server-pid names a "
                "process of this machine"
            )

    def target(self) -> Target:
        """What the result tells about it."""
        return Target(
            address=self.address,
            server=self.server,
            model=self.name,
            version=self.version,
            inputs=self.payload.inputs,
            rows=self.payload.rows,
            request_bytes=len(self.payload.request),
            process=self.tree.description if self.tree is not None else None,
        )

    def statistics(self) -> Sequence[ModelStatistics]:
        """The model's statistics by now; empty, with a note, where the server has none."""
        if self._without_statistics:
            return ()
        try:
            return self._model.statistics()
        except InferenceError as error:
            self._without_statistics = True
            why = "it lacks that extension" if isinstance(error, Unsupported) else error.message
            self.notes.append(f"the server's own times were not measured: {why}")
            return ()


@dataclass(frozen=True, slots=True)
class Sought:
    """Which model is meant; `server_pid` None looks for the process that listens."""

    model: str
    version: int | None
    server_pid: int | None
    stream: bool


def find_subject(client: Client, sought: Sought, wanted: Wanted) -> Subject:
    """The subject, whose request was answered once unless it is for a stream.

    Raises `InferenceError` where the server is not there, lacks the model or refuses the request,
    `PlanError` or `UsageError` for a request that cannot be made.
    """
    model = client.model(sought.model, sought.version)
    try:
        payload = payload_of(model, wanted)
        if not model.ready():
            raise ModelNotReady(f"model '{sought.model}' is not ready; load it, or wait")
        if not sought.stream:
            client.perform(
                Call(PATHS["ModelInfer"], payload.request, lambda _: None),
                client.deadline(None),
            )
    except NotFound as error:
        if "did you mean" not in error.message:
            error.message += did_you_mean(sought.model, _names(client))
        raise
    return Subject(client, model, payload, _tree(client.address, sought.server_pid))


def _tree(address: str, server_pid: int | None) -> ServerTree | Unseen:
    if server_pid is not None:
        try:
            return ServerTree(server_pid)
        except ProcessLookupError as error:
            raise PlanError(f"--server-pid {server_pid}: {error}") from error
    try:
        return ServerTree(server_root(address))
    except Unseen as error:
        return error
    except ProcessLookupError:
        return Unseen("its process has ended")


def _names(client: Client) -> list[str]:
    try:
        return [each.name for each in client.models()]
    except InferenceError:
        return []


def _server(client: Client) -> str:
    try:
        metadata = client.metadata()
    except InferenceError:
        return "unknown"
    return f"{metadata.name} {metadata.version}".strip()
