"""A streaming call on grpc.aio."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import grpc

from inferd.server.gateway.rpc.aio.handover import Handover
from inferd.server.gateway.rpc.aio.unary import END_OF_STREAM, end, monotonic_deadline
from inferd.server.gateway.rpc.call import Metadata, Stream
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import ServingError
from inferd.wire.status import code_of

OnMessage = Callable[[bytes | None], None]

_WELL = object()
"""The status of a call that ends without an error."""


class AioStreamCall:
    """One coroutine writes what is to be sent, in order; another reads what is asked for."""

    def __init__(self, context: Any, method: str, handover: Handover, record: CallRecord) -> None:
        """`context` is grpc.aio's, of a call that has just come."""
        self._arrived = monotonic()
        self._record = record
        self.method = method
        self.metadata: Metadata = context.invocation_metadata()
        self.deadline = monotonic_deadline(context)
        self.on_cancel: Callable[[], None] | None = None
        self.on_sent: Callable[[], None] | None = None
        self._context = context
        self._handover = handover
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._outbox: deque[bytes] = deque()
        self._status: object = None
        self._over = False
        self._idle: asyncio.Future[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked: OnMessage | None = None

    def peer(self) -> str:
        """Who calls, as gRPC has it."""
        found: str = self._context.peer()
        return found

    def receive(self, on_message: OnMessage) -> None:
        """Ask for the caller's next message; None says that it has sent its last."""
        self._handover.post(self._ask, on_message)

    def send(self, payload: bytes) -> None:
        """Send a message after those sent before; after the end of the call it is dropped."""
        with self._lock:
            if self._over or self._status is not None:
                return
            self._outbox.append(payload)
            idle, self._idle = self._idle, None
        if idle is not None:
            self._handover.post(_release, idle)

    def finish(self) -> None:
        """End the call well, after everything sent."""
        self._end(_WELL)

    def fail(self, error: ServingError) -> None:
        """End the call with an error, after everything sent."""
        self._end(error)

    async def run(self) -> None:
        """Write until the call has ended."""
        try:
            while (payload := await self._next()) is not None:
                await self._context.write(payload)
                if self.on_sent is not None:
                    self.on_sent()
        except BaseException:  # the caller is gone, its deadline has passed or the server ends
            now = monotonic()
            self._record.left(now - self._arrived, self.deadline, now)
            self._leave()
            raise
        seconds = monotonic() - self._arrived
        if isinstance(self._status, ServingError):
            self._record.failed(seconds, code_of(self._status).name)
            await end(self._context, self._status)
        else:
            self._record.answered(seconds)

    def _end(self, status: object) -> None:
        with self._lock:
            if self._over or self._status is not None:
                return
            self._status = status
            idle, self._idle = self._idle, None
        if idle is not None:
            self._handover.post(_release, idle)

    async def _next(self) -> bytes | None:
        """The next message to write; None when the status is due."""
        while True:
            with self._lock:
                if self._outbox:
                    return self._outbox.popleft()
                if self._status is not None:
                    self._over = True
                    self.on_cancel = None
                    return None
                idle = self._idle = self._loop.create_future()
            await idle

    def _leave(self) -> None:
        with self._lock:
            self._over = True
            self._outbox.clear()
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()

    def _ask(self, on_message: OnMessage) -> None:
        if self._over:
            return
        self._asked = on_message
        if self._reader is None:
            self._reader = self._loop.create_task(self._read())

    async def _read(self) -> None:
        """Read what is asked for.

        A task of its own that is never cancelled: the core writes into a read under way even when
        nobody waits for it any more. When the call ends, so does the read.
        """
        while (on_message := self._asked) is not None:
            self._asked = None
            try:
                message = await self._context.read()
            except grpc.aio.BaseError:
                break
            if self._over:
                break  # the caller is gone: nobody waits for an answer
            try:
                on_message(None if message is END_OF_STREAM else message)
            except ServingError as error:
                self.fail(error)
            except Exception as error:  # the last resort: a fault of ours never stops the door
                self.fail(unexpected(error, self.method))
        self._reader = None


def stream_handler(path: str, method: Stream, handover: Handover) -> Any:
    """What grpc.aio is to do with a call of this method."""

    async def serve(_: object, context: Any) -> None:
        call = AioStreamCall(context, path, handover, method.record)
        try:
            method.handle(call)
        except ServingError as error:
            call.fail(error)
        except Exception as error:  # the last resort: a fault of ours never stops the door
            call.fail(unexpected(error, path))
        await call.run()

    return grpc.stream_stream_rpc_method_handler(serve)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
