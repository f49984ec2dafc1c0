"""Both kinds of calls on the public `grpc.aio`: slower, for a grpcio whose core is not known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

import grpc

from inferd.bench.client.core import open_aio_channel
from inferd.bench.client.messages import StreamPayload, read_answer
from inferd.bench.client.transport import CANCELLED, OK, UNKNOWN, Answer, TransportClosed
from inferd.protos.services import INFERENCE_METHODS

_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_CANCELLED = "the run was stopped"
_EOF: Any = vars(grpc.aio)["EOF"]  # the stubs forget it

Result = TypeVar("Result")


class _AioTransport:
    """A channel, and an event loop for it in a thread of its own."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="aio", daemon=True).start()
        self._channel = self._wait(self._open(address))
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._timeout = 0.0
        self._until = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sending = threading.Lock()
        self._closed = False

    def reach(self, timeout: float) -> str | None:
        """See `Transport.reach`."""
        return self._wait(self._reach(timeout))

    def start(self, timeout: float, until: float) -> None:
        """See `Transport.start`."""
        self._timeout, self._until = timeout, until

    def take(self) -> Answer:
        """See `Transport.take`."""
        return self._answers.get()

    def finish(self) -> None:
        """See `Transport.finish`."""

    def cancel(self) -> None:
        """See `Transport.cancel`."""
        with self._sending:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(lambda: self._begin(self._end()))

    def _soon(self, send: Callable[[], None]) -> None:
        """Have the loop's thread send: all that was sent before `cancel` is so cancelled by it."""
        with self._sending:
            if self._closed:
                raise TransportClosed
            self._loop.call_soon_threadsafe(send)

    async def _end(self) -> None:
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel(_CANCELLED)
        await asyncio.gather(*others, return_exceptions=True)
        await self._channel.close(None)
        self._loop.stop()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it as a task, in the loop's thread."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, address: str) -> grpc.aio.Channel:
        return open_aio_channel(address)

    async def _reach(self, seconds: float) -> str | None:
        method = self._channel.unary_unary(INFERENCE_METHODS["ServerLive"].path, None, None)
        try:
            await method(b"", timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() in _UNANSWERED:
                return error.details() or error.code().name
        return None

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class AioUnary(_AioTransport):
    """ModelInfer; a task per request."""

    def __init__(self, address: str, payload: bytes) -> None:
        super().__init__(address)
        self._payload = payload
        self._method = self._channel.unary_unary(INFERENCE_METHODS["ModelInfer"].path, None, None)

    def send(self, tag: float) -> None:
        """See `Transport.send`."""
        self._soon(lambda: self._begin(self._ask(tag)))

    async def _ask(self, tag: float) -> None:
        answer = Answer(tag, CANCELLED, _CANCELLED)
        try:
            await self._method(self._payload, timeout=self._timeout)
            answer = Answer(tag, OK, "")
        except grpc.aio.AioRpcError as error:
            answer = Answer(tag, error.code().value[0], error.details() or "")
        finally:  # also when the task is cancelled: everything sent is answered
            self._answers.put(answer)


class AioStream(_AioTransport):
    """ModelStreamInfer; one stream, and a new one where it broke.

    Where a server ends the stream before a request has left, grpc.aio forgets how: it says INTERNAL.
    """

    def __init__(self, address: str, payload: StreamPayload) -> None:
        super().__init__(address)
        self._payload = payload
        path = INFERENCE_METHODS["ModelStreamInfer"].path
        self._method: Any = self._channel.stream_stream(path, None, None)
        self._unsent: asyncio.Queue[bytes | None] | None = None
        self._waiting: dict[str, float] = {}

    def send(self, tag: float) -> None:
        """See `Transport.send`."""
        self._soon(lambda: self._enqueue(tag))

    def finish(self) -> None:
        """See `Transport.finish`: half-close the stream."""
        self._loop.call_soon_threadsafe(self._half_close)

    def _enqueue(self, tag: float) -> None:
        if self._unsent is None:
            self._unsent, self._waiting = asyncio.Queue(), {}
            self._begin(self._stream(self._unsent, self._waiting))
        request_id = self._payload.take_id()
        self._waiting[request_id] = tag
        self._unsent.put_nowait(self._payload.message(request_id))

    def _half_close(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            unsent.put_nowait(None)

    async def _stream(self, unsent: asyncio.Queue[bytes | None], waiting: dict[str, float]) -> None:
        code, text = CANCELLED, _CANCELLED
        call = self._method(timeout=max(0.0, self._until + self._timeout - monotonic()))
        sender = self._loop.create_task(self._send(call, unsent))
        try:
            while (message := await call.read()) is not _EOF:
                found = read_answer(message, waiting, monotonic() - self._timeout)
                if found is not None:
                    request_id, answer = found
                    self._payload.give_back((request_id,))
                    self._answers.put(answer)
            code, text = UNKNOWN, "the server ended the stream before the answer"
            if (status := await call.code()) is not grpc.StatusCode.OK:
                code, text = status.value[0], await call.details() or ""
        except grpc.aio.AioRpcError as error:
            code, text = error.code().value[0], error.details() or ""
        finally:
            sender.cancel()
            if self._unsent is unsent:
                self._unsent = None
            self._payload.give_back(waiting)
            for tag in waiting.values():
                self._answers.put(Answer(tag, code, text))

    async def _send(self, call: Any, unsent: asyncio.Queue[bytes | None]) -> None:
        try:
            while (message := await unsent.get()) is not None:
                await call.write(message)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader tells what came of the stream
