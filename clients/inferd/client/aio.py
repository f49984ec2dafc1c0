"""The asyncio client: the synchronous one's surface, with `await`."""

# ruff: noqa: ASYNC109 - `timeout` is the deadline that gRPC carries to the server

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio

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
from inferd.client.pool import AsyncChannelPool
from inferd.client.prediction import ParameterValue, Prediction
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
        if self._closed:
            raise ClientClosed(f"the client of {self.address} is closed")
        try:
            payload = await self._method(call.path)(call.request, timeout=deadline.left())
        except grpc.RpcError as error:
            raise error_of(
                cast("FailedCall", error),
                address=self.address,
                timeout=deadline.seconds,
                inputs=call.inputs,
            ) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # Closing the channel cancels its calls: that must not look like the task's own end.
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise ClientClosed(f"the client of {self.address} was closed") from error
        return call.read(payload)

    def _method(self, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self._channel.unary_unary(path, None, None)
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


class AsyncModel:
    """One model of a server; `await model(array)`. Made by `AsyncClient.model`.

    As `Model`, for the tasks of one event loop.
    """

    def __init__(self, client: AsyncClient, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self._client = client
        self._metadata: ModelMetadata | None = None
        self._fetching = asyncio.Lock()

    async def __call__(
        self,
        /,
        *values: object,
        timeout: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        **named: object,
    ) -> Any:
        """The model's answer, as `Model.__call__`."""
        options = Options(parameters=parameters)
        return (await self._infer(values, named, options, timeout)).value

    async def infer(
        self,
        /,
        *values: object,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        request_id: str = "",
        timeout: float | None = None,
        **named: object,
    ) -> Prediction:
        """Like a call, with what came beside the outputs, as `Model.infer`."""
        options = Options(tuple(outputs), parameters, request_id)
        return await self._infer(values, named, options, timeout)

    async def ready(self, *, timeout: float | None = None) -> bool:
        """Whether the model takes requests; False for one that the server does not know."""
        call = calls.model_ready(self.name, self.version)
        return await self._client.perform(call, self._client.deadline(timeout))

    async def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """The model's versions, inputs and outputs, fetched once."""
        return await self._fetched(self._client.deadline(timeout))

    async def refresh(self, *, timeout: float | None = None) -> ModelMetadata:
        """The metadata fetched anew: for when the server has loaded another version meanwhile."""
        self._metadata = None
        return await self.metadata(timeout=timeout)

    async def statistics(self, *, timeout: float | None = None) -> tuple[ModelStatistics, ...]:
        """Counts and times of this version, or of all versions where none was named."""
        call = calls.statistics(self.name, self.version)
        return await self._client.perform(call, self._client.deadline(timeout))

    async def _infer(
        self,
        values: Sequence[object],
        named: Mapping[str, object],
        options: Options,
        timeout: float | None,
    ) -> Prediction:
        deadline = self._client.deadline(timeout)
        metadata = await self._fetched(deadline)
        call = infer(metadata, self.version, values, named, options)
        limit = self._client.message_limit
        if limit is None or len(call.request) <= limit:
            try:
                return await self._client.perform(call, deadline)
            except Overloaded as error:
                limit = message_limit(error)
                if limit is None:
                    raise
                self._client.message_limit = limit
        size = len(call.request)
        del call  # a copy of all inputs
        parts = split(metadata, self.version, values, named, options, size=size, limit=limit)
        return join([await self._client.perform(part, deadline) for part in parts])

    async def _fetched(self, deadline: Deadline) -> ModelMetadata:
        if self._metadata is not None:
            return self._metadata
        try:
            async with asyncio.timeout(deadline.left()):
                await self._fetching.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the signature of '{self.name}' did not come within {deadline.seconds:g} s"
            ) from error
        try:
            if self._metadata is None:
                self._metadata = await self._fetch(deadline)
            return self._metadata
        finally:
            self._fetching.release()

    async def _fetch(self, deadline: Deadline) -> ModelMetadata:
        named = calls.model_metadata(self.name, self.version)
        described = await self._client.perform(named, deadline)
        call = calls.model_config(self.name, self.version)
        try:
            config = (await self._client.perform(call, deadline)).config
        except Unsupported:
            config = None
        return model_metadata(described, config)

    def __repr__(self) -> str:
        return f"AsyncModel({self.name!r}, version={self.version or None!r})"
