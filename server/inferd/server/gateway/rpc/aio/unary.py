"""A unary call on grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

import grpc

from inferd.server.gateway.rpc.aio.handover import Handover
from inferd.server.gateway.rpc.call import Metadata, Unary
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import InvalidRequest, ServingError
from inferd.wire.status import code_of, message_of, trailers_of

END_OF_STREAM: object = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs leave it out


class AioUnaryCall:
    """Answered once, from any thread; whatever is said after that is not heard."""

    __slots__ = (
        "_answer",
        "_arrived",
        "_context",
        "_gone",
        "_handover",
        "_on_cancel",
        "_record",
        "deadline",
        "metadata",
        "method",
        "payload",
    )

    def __init__(
        self, context: Any, method: str, payload: bytes, handover: Handover, record: CallRecord
    ) -> None:
        """`context` is grpc.aio's, of a call whose message has come."""
        self._arrived = monotonic()
        self._record = record
        self.method = method
        self.metadata: Metadata = context.invocation_metadata()
        self.payload = payload
        self.deadline = monotonic_deadline(context)
        self._context = context
        self._gone = False
        self._on_cancel: Callable[[], None] | None = None
        self._handover = handover
        self._answer: asyncio.Future[bytes | ServingError] = (
            asyncio.get_running_loop().create_future()
        )

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called, on the loop's thread, when the caller goes away or has gone."""
        self._on_cancel = on_cancel
        # Looked at after it is set: whichever thread comes second, here or in `answer`, sees both.
        if self._gone:
            self._handover.defer(AioUnaryCall._tell, self)

    def peer(self) -> str:
        """Who calls, as gRPC has it."""
        found: str = self._context.peer()
        return found

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised message."""
        self._on_cancel = None
        self.payload = b""
        self._handover.post(self._settle, payload)

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""
        self._on_cancel = None
        self.payload = b""
        self._handover.post(self._settle, error)

    async def answer(self) -> bytes | ServingError:
        """What the call is answered with."""
        try:
            return await self._answer
        except asyncio.CancelledError:  # the caller is gone, or its deadline has passed
            self._gone = True
            now = monotonic()
            self._record.left(now - self._arrived, self.deadline, now)
            self._tell()
            raise

    def _tell(self) -> None:
        # Taken before it is looked at: an answer from another thread clears it at any moment.
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None:
            on_cancel()

    def _settle(self, answer: bytes | ServingError) -> None:
        if self._answer.done():
            return
        self._answer.set_result(answer)
        seconds = monotonic() - self._arrived
        if isinstance(answer, ServingError):
            self._record.failed(seconds, code_of(answer).name)
        else:
            self._record.answered(seconds)


def unary_handler(path: str, method: Unary, handover: Handover) -> Any:
    """What grpc.aio is to do with a call of this method.

    To grpc.aio it is a stream of requests: a unary handler is not called, and the caller never
    answered, if the call ends without a message.
    """

    async def serve(_: object, context: Any) -> bytes:
        payload = await context.read()
        if payload is END_OF_STREAM:
            missing = InvalidRequest("the call ended without a message", reason="NO_MESSAGE")
            await end(context, missing)
            return b""
        call = AioUnaryCall(context, path, payload, handover, method.record)
        try:
            method.handle(call)
        except ServingError as error:
            call.fail(error)
        except Exception as error:  # the last resort: a fault of ours never stops the door
            call.fail(unexpected(error, path))
        answer = await call.answer()
        if isinstance(answer, ServingError):
            await end(context, answer)
            return b""
        return answer

    return grpc.stream_unary_rpc_method_handler(serve)


async def end(context: Any, error: ServingError) -> None:
    """End a call with this error; grpc.aio has it that this raises where the caller hears it."""
    try:
        await context.abort(code_of(error), message_of(error), trailers_of(error))
    except grpc.aio.InternalError:
        pass  # the caller has just gone


def monotonic_deadline(context: Any) -> float:
    """The caller's deadline in monotonic seconds; infinite for none.

    The core rounds up to whole milliseconds; rounded down, a timeout of 0 has passed on arrival.
    """
    remaining = context.time_remaining()
    return inf if remaining is None else monotonic() + remaining - 0.001
