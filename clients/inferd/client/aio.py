"""The asyncio client: the synchronous one's surface, with `await`."""

# ruff: noqa: ASYNC109 - `timeout` is the deadline that gRPC carries to the server

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Sequence,
)
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio

from inferd.client.aio_model import AsyncModel
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
from inferd.client.pool import AsyncChannelPool
from inferd.client.target import target_of

Result = TypeVar("Result")


def connect_async(
    address: str | Sequence[str],
    *,
    timeout: float = 30.0,
    retries: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    connections: int = 1,
) -> AsyncClient:
    """As `connect`, for use in the running event loop. Raises `RuntimeError` where none runs."""
    asyncio.get_running_loop()  # grpc would bind the channel to another loop without a word
    target = target_of(address, secure=credentials is not None)
    options = channel_options(target, retries=retries, connections=connections)
    if credentials is None:
        channels = [grpc.aio.insecure_channel(target.name, options) for _ in range(connections)]
    else:
        channels = [
            grpc.aio.secure_channel(target.name, credentials, options) for _ in range(connections)
        ]
    return AsyncClient(AsyncChannelPool(channels), target.address, timeout)


class AsyncClient:
    """Connections to a server, or to several alike, for the tasks of one event loop; made by `connect_async`.

    Its methods are those of `Client`. Close it, or use it in an `async with` statement.
    """

    def __init__(self, channel: AsyncChannelPool, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.message_limit: int | None = None  # bytes; known once a larger request was refused
        self._channel = channel
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._streams: dict[str, grpc.aio.StreamStreamMultiCallable[bytes, bytes]] = {}
        self._models: dict[tuple[str, str], AsyncModel] = {}
        self._closed = False

    def model(self, name: str, version: int | str | None = None) -> AsyncModel:
        """The model to call, as `Client.model`."""
        key = (name, "" if version is None else str(version))
        if key not in self._models:
            self._models[key] = AsyncModel(self, *key)
        return self._models[key]

    async def server_live(self, *, timeout: float | None = None) -> bool:
        """Whether the server runs."""
        return await self.perform(calls.server_live(), self.deadline(timeout))

    async def server_ready(self, *, timeout: float | None = None) -> bool:
        """Whether the server takes requests."""
        return await self.perform(calls.server_ready(), self.deadline(timeout))

    async def metadata(self, *, timeout: float | None = None) -> ServerMetadata:
        """The server's name, version and extensions."""
        return await self.perform(calls.server_metadata(), self.deadline(timeout))

    async def models(
        self, *, ready: bool = False, timeout: float | None = None
    ) -> tuple[ModelState, ...]:
        """Every version of every model that the server knows, or with `ready` those it serves."""
        return await self.perform(calls.repository_index(ready=ready), self.deadline(timeout))

    async def statistics(self, *, timeout: float | None = None) -> tuple[ModelStatistics, ...]:
        """Counts and times of every model version."""
        return await self.perform(calls.statistics("", ""), self.deadline(timeout))

    async def load(self, name: str, *, timeout: float | None = None) -> None:
        """Load or reload a model; returns when it is served. What served before stays on failure."""
        await self.perform(calls.load_model(name), self.deadline(timeout))

    async def unload(self, name: str, *, timeout: float | None = None) -> None:
        """Stop serving a model; requests in flight are still answered."""
        await self.perform(calls.unload_model(name), self.deadline(timeout))

    async def close(self) -> None:
        """End the connection and every call in flight; closing again does nothing."""
        self._closed = True
        await self._channel.close(None)

    def deadline(self, timeout: float | None) -> Deadline:
        """The end of a call that begins now."""
        return Deadline(self.timeout if timeout is None else timeout)

    async def perform(self, call: Call[Result], deadline: Deadline) -> Result:
        """Send one call and read its answer; raises `InferenceError`, or `CancelledError`."""
        self.refuse_closed()
        try:
            payload = await self._method(call.path)(
                call.request, timeout=deadline.left(), metadata=traced()
            )
        except grpc.RpcError as error:
            raise self._error(error, call, deadline) from error
        except asyncio.CancelledError as error:
            self._raise_if_ours(error)
            raise
        return call.read(payload)

    async def perform_stream(
        self, call: Call[Result | None], deadline: Deadline
    ) -> AsyncGenerator[Result, None]:
        """As `Client.perform_stream`."""
        self.refuse_closed()
        answers = self._stream(call.path)(
            iter((call.request,)), timeout=deadline.left(), metadata=traced(STREAM_METADATA)
        )
        try:
            async for payload in answers:
                answer = call.read(payload)
                if answer is not None:
                    yield answer
        except grpc.RpcError as error:
            raise self._error(error, call, deadline) from error
        except asyncio.CancelledError as error:
            self._raise_if_ours(error)
            raise
        finally:
            answers.cancel()

    def _error(self, error: grpc.RpcError, call: Call[Any], deadline: Deadline) -> InferenceError:
        return error_of(
            cast("FailedCall", error),
            address=self.address,
            timeout=deadline.seconds,
            inputs=call.inputs,
        )

    def _raise_if_ours(self, error: asyncio.CancelledError) -> None:
        """Closing the channel cancels its calls: that must not look like the task's own end."""
        task = asyncio.current_task()
        if self._closed and not (task is not None and task.cancelling()):
            raise ClientClosed(f"the client of {self.address} was closed") from error

    def open_stream(self, path: str, requests: AsyncIterator[bytes]) -> AsyncIterable[bytes]:
        """Begin a call with a stream in both directions. Raises `ClientClosed`."""
        self.refuse_closed()
        method: Any = self._stream(path)
        call: AsyncIterable[bytes] = method(requests, metadata=traced())
        return call

    def refuse_closed(self) -> None:
        """Raise `ClientClosed` if this client is closed."""
        if self._closed:
            raise ClientClosed(f"the client of {self.address} is closed")

    def _method(self, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self._channel.unary_unary(path, None, None)
        return found

    def _stream(self, path: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
        found = self._streams.get(path)
        if found is None:
            found = self._streams[path] = self._channel.stream_stream(path, None, None)
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.address!r})"
