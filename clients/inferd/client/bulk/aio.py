"""`AsyncModel.map`: the answers of a bulk job in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import grpc

from inferd.client.bulk.answers import PATH
from inferd.client.bulk.handing import Errors, Handing, fault_of
from inferd.client.bulk.items import items_of, request_of
from inferd.client.bulk.job import BulkJob, BulkPosition
from inferd.client.bulk.progress import Progress, open_progress
from inferd.client.codec.infer import Options
from inferd.client.errors import DeadlineExceeded

if TYPE_CHECKING:
    from inferd.client.aio import AsyncClient
    from inferd.client.aio_model import AsyncModel

_Event = bytes | grpc.RpcError | None


class AsyncBulkAnswers(AsyncIterator[Any]):
    """As `BulkAnswers`, with `async for`; made by `AsyncModel.map`."""

    def __init__(
        self,
        client: AsyncClient,
        model: AsyncModel,
        given: Any,
        *,
        options: Options,
        in_flight: int,
        ordered: bool,
        errors: Errors,
        rows: int | None,
        resume: BulkPosition | None,
        patience: float,
        progress: bool,
    ) -> None:
        self._client = client
        self._model = model
        self._items = given if isinstance(given, AsyncIterable) else items_of(given, rows)
        self._options = options
        self._job = BulkJob(
            model.name,
            model.version,
            ordered=ordered,
            in_flight=in_flight,
            patience=patience,
            resume=resume,
            now=monotonic(),
        )
        self._stream: _Stream | None = None
        self._handing = Handing(
            ordered=ordered,
            errors=errors,
            progress=open_progress(model.name, given) if progress else Progress(),
        )
        self._answers = self._run()

    @property
    def position(self) -> BulkPosition:
        """As `BulkAnswers.position`."""
        return self._job.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._answers)

    async def aclose(self) -> None:
        """Give up what is not answered yet."""
        await self._answers.aclose()
        await self._hang_up()

    async def _run(self) -> AsyncGenerator[Any, None]:
        metadata = await self._model.metadata()
        source = _draw(self._items)
        job, exhausted = self._job, False
        try:
            while True:
                for index, result in job.due():
                    yield self._handing.hand_on(index, result)
                    job.rest(monotonic())
                if exhausted and job.idle:
                    return
                stream = self._stream or await self._open()
                while job.wants and not exhausted:
                    try:
                        item = await anext(source)
                    except StopAsyncIteration:
                        exhausted = True
                        break
                    job.rest(monotonic())
                    job.add(request_of(metadata, self._model.version, item, self._options))
                    stream.send(job.outgoing(monotonic()))
                    if stream.has_come:
                        break
                stream.send(job.outgoing(monotonic()))
                if job.awaits:
                    await self._listen(stream)
        finally:
            await self._hang_up()
            self._handing.close()

    async def _listen(self, stream: _Stream) -> None:
        job = self._job
        try:
            async with asyncio.timeout(job.next_event(monotonic())):
                event = await stream.next()
        except TimeoutError:
            if job.overdue(monotonic()):
                address = self._client.address
                raise DeadlineExceeded(f"no answer from {address} for too long") from None
            return
        now = monotonic()
        if isinstance(event, bytes):
            job.received(event, now)
        else:
            wait = job.broken(fault_of(self._client, event), now)
            await self._hang_up()
            await asyncio.sleep(wait)

    async def _open(self) -> _Stream:
        stream = self._stream = _Stream(self._client)
        stream.send([self._job.opening()])
        return stream

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()


class _Stream:
    """One stream and the task that reads it."""

    def __init__(self, client: AsyncClient) -> None:
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._inbox: asyncio.Queue[_Event] = asyncio.Queue()
        self._call: Any = client.open_stream(PATH, self._requests())
        self._reader = asyncio.create_task(self._read(), name="bulk-answers")

    @property
    def has_come(self) -> bool:
        """Whether something may be taken without waiting."""
        return not self._inbox.empty()

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send messages."""
        for each in payloads:
            self._outbox.put_nowait(each)

    async def next(self) -> _Event:
        """What comes next: a message, the error that ended the stream, or None for its good end."""
        return await self._inbox.get()

    async def close(self) -> None:
        """End it, whatever is under way."""
        self._call.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _requests(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._outbox.get()

    async def _read(self) -> None:
        try:
            async for payload in self._call:
                self._inbox.put_nowait(payload)
        except grpc.RpcError as error:
            self._inbox.put_nowait(error)
        except asyncio.CancelledError:  # so ends a call whose channel was closed
            self._inbox.put_nowait(None)
            raise
        else:
            self._inbox.put_nowait(None)


async def _draw(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for each in items:
            yield each
        return
    for each in items:
        yield each
        await asyncio.sleep(0)  # many items must not keep others from running
