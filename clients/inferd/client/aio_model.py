"""A model of a server, for asyncio: call it, stream from it, map over it."""

# ruff: noqa: ASYNC109 - `timeout` is the deadline that gRPC carries to the server

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from inferd.client.bulk.aio import AsyncBulkAnswers
from inferd.client.bulk.handing import Errors
from inferd.client.bulk.job import BulkPosition
from inferd.client.codec import calls
from inferd.client.codec.infer import Options, infer, stream
from inferd.client.codec.signatures import model_metadata
from inferd.client.codec.split import join, message_limit, split
from inferd.client.deadline import Deadline
from inferd.client.errors import (
    DeadlineExceeded,
    Overloaded,
    Unsupported,
)
from inferd.client.metadata import ModelMetadata, ModelStatistics
from inferd.client.prediction import ParameterValue, Prediction

if TYPE_CHECKING:
    from inferd.client.aio import AsyncClient


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
        timings: bool = False,
        timeout: float | None = None,
        **named: object,
    ) -> Prediction:
        """Like a call, with what came beside the outputs, as `Model.infer`."""
        options = Options(tuple(outputs), parameters, request_id, timings)
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
