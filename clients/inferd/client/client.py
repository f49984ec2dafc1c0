"""The synchronous client: connect to a server, call its models."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc

from inferd.client.channel import channel_options
from inferd.client.codec import calls
from inferd.client.codec.calls import Call
from inferd.client.codec.infer import STREAM_METADATA
from inferd.client.codec.status import FailedCall, error_of
from inferd.client.codec.trace_context import traced
from inferd.client.deadline import Deadline
from inferd.client.errors import (
    ClientClosed,
    InferenceError,
)
from inferd.client.metadata import ModelState, ModelStatistics, ServerMetadata
from inferd.client.model import Model
from inferd.client.pool import ChannelPool
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
        self._streams: dict[str, grpc.StreamStreamMultiCallable[bytes, bytes]] = {}
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
            payload = self._method(call.path)(
                call.request, timeout=deadline.left(), metadata=traced()
            )
        except grpc.RpcError as error:
            raise self._error(error, call, deadline) from error
        except ValueError as error:  # what grpc raises on a closed channel
            if not self._closed:
                raise
            raise ClientClosed(f"the client of {self.address} is closed") from error
        return call.read(payload)

    def perform_stream(
        self, call: Call[Result | None], deadline: Deadline
    ) -> Generator[Result, None, None]:
        """Send one request on a stream when first asked, and read its answers as they come.

        Closing it ends the call. Raises nothing but `InferenceError`.
        """
        try:
            answers = self._stream(call.path)(
                iter((call.request,)), timeout=deadline.left(), metadata=traced(STREAM_METADATA)
            )
        except ValueError as error:  # what grpc raises on a closed channel
            if not self._closed:
                raise
            raise ClientClosed(f"the client of {self.address} is closed") from error
        try:
            for payload in answers:
                answer = call.read(payload)
                if answer is not None:
                    yield answer
        except grpc.RpcError as error:
            raise self._error(error, call, deadline) from error
        finally:
            answers.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped

    def _error(self, error: grpc.RpcError, call: Call[Any], deadline: Deadline) -> InferenceError:
        return error_of(
            cast("FailedCall", error),
            address=self.address,
            timeout=deadline.seconds,
            inputs=call.inputs,
        )

    def open_stream(self, path: str, requests: Iterator[bytes]) -> Iterable[bytes]:
        """Begin a call with a stream in both directions. Raises `ClientClosed`."""
        self.refuse_closed()
        return self._stream(path)(requests, metadata=traced())

    def refuse_closed(self) -> None:
        """Raise `ClientClosed` if this client is closed."""
        if self._closed:
            raise ClientClosed(f"the client of {self.address} is closed")

    def _method(self, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self._channel.unary_unary(path, None, None)
        return found

    def _stream(self, path: str) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
        found = self._streams.get(path)
        if found is None:
            found = self._streams[path] = self._channel.stream_stream(path, None, None)
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
