"""The synchronous client: connect to a server, call its models."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc

from inferd.client.channel import channel_options
from inferd.client.codec import calls
from inferd.client.codec.calls import Call
from inferd.client.codec.infer import Options, infer
from inferd.client.codec.signatures import model_metadata
from inferd.client.codec.split import join, message_limit, split
from inferd.client.codec.status import FailedCall, error_of
from inferd.client.deadline import Deadline
from inferd.client.errors import ClientClosed, DeadlineExceeded, Overloaded, Unsupported
from inferd.client.metadata import ModelMetadata, ModelState, ModelStatistics, ServerMetadata
from inferd.client.pool import ChannelPool
from inferd.client.prediction import ParameterValue, Prediction
from inferd.client.target import target_of

Result = TypeVar("Result")


def connect(
    address: str | Sequence[str],
    *,
    timeout: float = 30.0,
    retries: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    connections: int = 1,
) -> Client:
    """A client of the server at `address` (HOST:PORT). Nothing is sent to it yet.

    Several addresses, in a list or with commas between, are servers that serve the same models:
    calls go to those that can be reached, in turn; names among them are looked up now, once. Over
    `connections` to each server, calls go in turn too: one gateway serves all calls of a connection.

    Every call ends within `timeout` seconds unless it is given its own. With `retries`, calls that
    a server could not take (UNAVAILABLE) are sent up to three times within that time. Without
    `credentials` the connection is not encrypted. Raises `ValueError` for what is no address, and
    `ServerUnavailable` for one of several names that cannot be looked up.
    """
    target = target_of(address, secure=credentials is not None)
    options = channel_options(target, retries=retries, connections=connections)
    if credentials is None:
        channels = [grpc.insecure_channel(target.name, options) for _ in range(connections)]
    else:
        channels = [
            grpc.secure_channel(target.name, credentials, options) for _ in range(connections)
        ]
    return Client(ChannelPool(channels), target.address, timeout)


class Client:
    """Connections to a server, or to several alike, safe to share between threads; made by `connect`.

    Every method raises an `InferenceError` where the server cannot be reached or refuses. `timeout`
    is in seconds; None takes the client's. Close it, or use it in a `with` statement.
    """

    def __init__(self, channel: ChannelPool, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.message_limit: int | None = None  # bytes; known once a larger request was refused
        self._channel = channel
        self._methods: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._models: dict[tuple[str, str], Model] = {}
        self._closed = False

    def model(self, name: str, version: int | str | None = None) -> Model:
        """The model to call; without `version` the server picks one for each call.

        Nothing is sent: whether it exists shows when it is first used.
        """
        key = (name, "" if version is None else str(version))
        # setdefault is atomic: threads that ask at once share one model and its signature.
        return self._models.get(key) or self._models.setdefault(key, Model(self, *key))

    def server_live(self, *, timeout: float | None = None) -> bool:
        """Whether the server runs."""
        return self.perform(calls.server_live(), self.deadline(timeout))

    def server_ready(self, *, timeout: float | None = None) -> bool:
        """Whether the server takes requests."""
        return self.perform(calls.server_ready(), self.deadline(timeout))

    def metadata(self, *, timeout: float | None = None) -> ServerMetadata:
        """The server's name, version and extensions."""
        return self.perform(calls.server_metadata(), self.deadline(timeout))

    def models(
        self, *, ready: bool = False, timeout: float | None = None
    ) -> tuple[ModelState, ...]:
        """Every version of every model that the server knows, or with `ready` those it serves."""
        return self.perform(calls.repository_index(ready=ready), self.deadline(timeout))

    def statistics(self, *, timeout: float | None = None) -> tuple[ModelStatistics, ...]:
        """Counts and times of every model version."""
        return self.perform(calls.statistics("", ""), self.deadline(timeout))

    def load(self, name: str, *, timeout: float | None = None) -> None:
        """Load or reload a model; returns when it is served. What served before stays on failure."""
        self.perform(calls.load_model(name), self.deadline(timeout))

    def unload(self, name: str, *, timeout: float | None = None) -> None:
        """Stop serving a model; requests in flight are still answered."""
        self.perform(calls.unload_model(name), self.deadline(timeout))

    def close(self) -> None:
        """End the connection and every call in flight; closing again does nothing."""
        self._closed = True
        self._channel.close()

    def deadline(self, timeout: float | None) -> Deadline:
        """The end of a call that begins now."""
        return Deadline(self.timeout if timeout is None else timeout)

    def perform(self, call: Call[Result], deadline: Deadline) -> Result:
        """Send one call and read its answer; raises nothing but `InferenceError`."""
        try:
            payload = self._method(call.path)(call.request, timeout=deadline.left())
        except grpc.RpcError as error:
            raise error_of(
                cast("FailedCall", error),
                address=self.address,
                timeout=deadline.seconds,
                inputs=call.inputs,
            ) from error
        except ValueError as error:  # what grpc raises on a closed channel
            if not self._closed:
                raise
            raise ClientClosed(f"the client of {self.address} is closed") from error
        return call.read(payload)

    def _method(self, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self._channel.unary_unary(path, None, None)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r})"


class Model:
    """One model of a server; call it like a function. Made by `Client.model`.

    Its signature is fetched once, when it is first needed, and every argument is checked against it
    before anything is sent. Safe to share between threads.
    """

    def __init__(self, client: Client, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self._client = client
        self._metadata: ModelMetadata | None = None
        self._fetching = threading.Lock()

    def __call__(
        self,
        /,
        *values: object,
        timeout: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        **named: object,
    ) -> Any:
        """The model's answer: its output's array, or an `Answer` by name where it has several.

        Inputs go by position in the signature's order, by name, or as one mapping. numpy arrays (and
        numbers, strings and lists of them) are answered with numpy arrays, torch tensors with torch
        tensors on the CPU. Raises `InvalidInput` for what does not fit, before sending it.
        """
        return self._infer(values, named, Options(parameters=parameters), timeout).value

    def infer(
        self,
        /,
        *values: object,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **named: object,
    ) -> Prediction:
        """Like a call, with what came beside the outputs; `outputs` limits which are computed.

        An input that is named like one of the options here goes by position or in a mapping.
        """
        options = Options(tuple(outputs), parameters, request_id)
        return self._infer(values, named, options, timeout)

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether the model takes requests; False for one that the server does not know."""
        call = calls.model_ready(self.name, self.version)
        return self._client.perform(call, self._client.deadline(timeout))

    def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """The model's versions, inputs and outputs, fetched once."""
        return self._fetched(self._client.deadline(timeout))

    def refresh(self, *, timeout: float | None = None) -> ModelMetadata:
        """The metadata fetched anew: for when the server has loaded another version meanwhile."""
        self._metadata = None
        return self.metadata(timeout=timeout)

    def statistics(self, *, timeout: float | None = None) -> tuple[ModelStatistics, ...]:
        """Counts and times of this version, or of all versions where none was named."""
        call = calls.statistics(self.name, self.version)
        return self._client.perform(call, self._client.deadline(timeout))

    def _infer(
        self,
        values: Sequence[object],
        named: Mapping[str, object],
        options: Options,
        timeout: float | None,
    ) -> Prediction:
        deadline = self._client.deadline(timeout)
        metadata = self._fetched(deadline)
        call = infer(metadata, self.version, values, named, options)
        limit = self._client.message_limit
        if limit is None or len(call.request) <= limit:
            try:
                return self._client.perform(call, deadline)
            except Overloaded as error:
                limit = message_limit(error)
                if limit is None:
                    raise
                self._client.message_limit = limit
        size = len(call.request)
        del call  # a copy of all inputs
        parts = split(metadata, self.version, values, named, options, size=size, limit=limit)
        return join([self._client.perform(part, deadline) for part in parts])

    def _fetched(self, deadline: Deadline) -> ModelMetadata:
        if self._metadata is not None:
            return self._metadata
        if not self._fetching.acquire(timeout=deadline.left()):
            raise DeadlineExceeded(
                f"the signature of '{self.name}' did not come within {deadline.seconds:g} s"
            )
        try:
            if self._metadata is None:
                self._metadata = self._fetch(deadline)
            return self._metadata
        finally:
            self._fetching.release()

    def _fetch(self, deadline: Deadline) -> ModelMetadata:
        described = self._client.perform(calls.model_metadata(self.name, self.version), deadline)
        call = calls.model_config(self.name, self.version)
        try:
            config = self._client.perform(call, deadline).config
        except Unsupported:
            config = None
        return model_metadata(described, config)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, version={self.version or None!r})"
