"""One call from the HTTP loop to the dataplane, or to a method of the gRPC service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from math import inf
from typing import Any

from inferd.wire.errors import Cancelled, Draining, ServingError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's: the next event of a request; after its body, that the caller is gone."""


class HttpCall:
    """Made on the loop, answered from any thread; `outcome` waits for the answer.

    Whoever waits for long is asked after: `watch` costs a task, so it is for calls that are not
    answered at once.
    """

    def __init__(
        self,
        method: str,
        payload: bytes,
        receive: Receive,
        *,
        metadata: Iterable[tuple[str | bytes, str | bytes]] = (),
        began: float = 0.0,
    ) -> None:
        """`receive` is the request's, whose body has been read; `metadata` its headers.

        It began to be read at `began`, in monotonic seconds; 0.0 where nobody asks.
        """
        self.method = method
        self.metadata = metadata
        self.began = began
        self.payload = payload
        self.deadline = inf
        self.traced: Callable[[str, str], None] | None = None
        """Hears, if somebody cares, under which trace and span the call is traced."""
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        self._on_cancel: Callable[[], None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def outcome(self) -> bytes:
        """The serialised answer. Raises the `ServingError` that the call failed with."""
        try:
            return await self._answer
        finally:
            self._on_cancel = None
            if self._watcher is not None:
                self._watcher.cancel()

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called, on the loop's thread, when the caller goes away unanswered."""
        self._on_cancel = on_cancel
        self._post(self._begin_to_watch)

    def peer(self) -> str:
        """Not known here: whoever logs it has the connection at hand."""
        return ""

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised message."""
        self.payload = b""
        self._post(self._settle, payload)

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""
        self.payload = b""
        self._post(self._abort, error)

    def give_up(self) -> None:
        """On the loop: the server does not wait for this answer any longer."""
        self._leave(Draining("the server is shutting down and did not wait any longer"))

    def _post(self, act: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *arguments)
        except RuntimeError:
            pass  # the loop has ended, and with it whoever waited

    def _settle(self, payload: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(payload)

    def _abort(self, error: ServingError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    def _begin_to_watch(self) -> None:
        if self._watcher is None and not self._answer.done():
            self._watcher = self._loop.create_task(self._watch(), name="watch a caller")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave(Cancelled("the caller went away"))

    def _leave(self, error: ServingError) -> None:
        on_cancel, self._on_cancel = self._on_cancel, None
        if self._answer.done():
            return
        self._answer.set_exception(error)
        if on_cancel is not None:
            on_cancel()
