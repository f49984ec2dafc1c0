"""The asyncio client: the synchronous one's surface, with `await`."""

# ruff: noqa: ASYNC109 - `timeout` is the deadline that gRPC carries to the server

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio

from inferd.client.bulk.aio import AsyncBulkAnswers
from inferd.client.bulk.answers import Errors
from inferd.client.bulk.job import BulkPosition
from inferd.client.channel import channel_options, target_of
from inferd.client.codec import calls
from inferd.client.codec.calls import Call
from inferd.client.codec.infer import STREAM_METADATA, Options, infer, stream
from inferd.client.codec.signatures import model_metadata
from inferd.client.codec.status import FailedCall, error_of
from inferd.client.deadline import Deadline
from inferd.client.errors import ClientClosed, DeadlineExceeded, InferenceError, Unsupported
from inferd.client.metadata import ModelMetadata, ModelState, ModelStatistics, ServerMetadata
from inferd.client.prediction import ParameterValue, Prediction

Result = TypeVar("Result")


def connect_async(
    address: str,
    *,
    timeout: float = 30.0,
    retries: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncClient:
    """As `connect`, for use in the running event loop. Raises `RuntimeError` where none runs."""
    asyncio.get_running_loop()  # grpc would bind the channel to another loop without a word
    target = target_of(address)
    options = channel_options(retries=retries)
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options)
    return AsyncClient(channel, address, timeout)


class AsyncClient:
    """A connection to one server, for the tasks of one event loop; made by `connect_async`.

    Its methods are those of `Client`. Close it, or use it in an `async with` statement.
    """

    def __init__(self, channel: grpc.aio.Channel, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
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
            payload = await self._method(call.path)(call.request, timeout=deadline.left())
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
        if self._closed:
            raise ClientClosed(f"the client of {self.address} is closed")
        method = self._streams.get(call.path)
        if method is None:
            method = self._streams[call.path] = self._channel.stream_stream(call.path, None, None)
        answers = method(iter((call.request,)), timeout=deadline.left(), metadata=STREAM_METADATA)
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
        method: Any = self._channel.stream_stream(path, None, None)
        call: AsyncIterable[bytes] = method(requests)
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

    async def stream(
        self,
        /,
        *values: object,
        timeout: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        **named: object,
    ) -> AsyncGenerator[Any, None]:
        """The answers of a model that gives many, as `Model.stream`; for `async for`.

        Its `aclose` ends the request at once; leaving the loop does when it is collected.
        """
        deadline = self._client.deadline(timeout)
        metadata = await self._fetched(deadline)
        call = stream(metadata, self.version, values, named, Options(parameters=parameters))
        async with aclosing(self._client.perform_stream(call, deadline)) as answers:
            async for each in answers:
                yield each.value

    def map(
        self,
        items: Any,
        *,
        in_flight: int = 16,
        ordered: bool = True,
        errors: Errors = "raise",
        rows: int | None = None,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        resume: BulkPosition | None = None,
        patience: float = 300.0,
        progress: bool = False,
    ) -> AsyncBulkAnswers:
        """As `Model.map`, with `async for`; `items` may be an asynchronous iterable, too."""
        return AsyncBulkAnswers(
            self._client,
            self,
            items,
            options=Options(tuple(outputs), parameters),
            in_flight=in_flight,
            ordered=ordered,
            errors=errors,
            rows=rows,
            resume=resume,
            patience=patience,
            progress=progress,
        )

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
        return await self._client.perform(call, deadline)

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
