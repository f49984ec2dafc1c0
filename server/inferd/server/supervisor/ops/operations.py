"""What the operations port tells: metrics, and whether the server lives and is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from inferd.core.address import Address
from inferd.server.supervisor.ops.door import OpsDoor
from inferd.server.supervisor.ops.exposition import Exposition, Show
from inferd.server.supervisor.ops.observation import Observer
from inferd.server.supervisor.ops.processes import show_models, show_processes, show_scrape
from inferd.server.supervisor.ops.requests import show_calls, show_loads, show_requests
from inferd.server.supervisor.ops.status.look import Look
from inferd.server.supervisor.ops.status.tally import Tally
from inferd.server.supervisor.ops.triton import show_as_triton
from inferd.server.supervisor.ops.usage import show_usage

SUBJECTS: tuple[Show, ...] = (
    show_requests,
    show_loads,
    show_calls,
    show_models,
    show_processes,
    show_usage,
    show_scrape,
)

_INDEX = """inferd
/metrics  figures for Prometheus
/healthz  200 while this server lives
/readyz   200 while it takes requests, 503 and why while it does not
/status   all that `inferd status` shows, as JSON
"""


class Operations:
    """The operations port of one server. `incidents` is who counts what befalls it."""

    def __init__(self, *, as_triton: bool, not_ready: Callable[[], str]) -> None:
        """`not_ready` says why the server takes no requests, or nothing if it does."""
        subjects = (*SUBJECTS, show_as_triton) if as_triton else SUBJECTS
        self._exposition = Exposition(subjects)
        self.incidents = Tally(self._exposition.instruments)
        self._not_ready = not_ready
        self._observer: Observer | None = None
        self._look: Look | None = None
        self._watches: tuple[asyncio.Task[None], ...] = ()
        self._door = OpsDoor(
            {
                "/": self._index,
                "/metrics": self._metrics,
                "/healthz": self._healthz,
                "/readyz": self._readyz,
                "/status": self._status,
            }
        )

    def open(self, address: Address, observer: Observer) -> str:
        """Answer at HOST:PORT, which is returned. Raises `OpsListenError`."""
        bound = self._door.bind(address)
        self._observer = observer
        self._look = Look(observer, self.incidents, not_ready=self._not_ready, ops=bound)
        self._watches = (
            asyncio.create_task(observer.watch_loop(), name="watch the event loop"),
            asyncio.create_task(self._look.watch_loop(), name="note samples"),
        )
        self._door.start()
        return bound

    async def close(self) -> None:
        """Answer no more."""
        for watch in self._watches:
            watch.cancel()
        await self._door.close()

    async def _metrics(self, request: Request) -> Response:
        assert self._observer is not None
        observation = await self._observer.observe()
        accept = request.headers.get("accept", "")
        # Beside the event loop: it has workers and gateways to see to.
        text, content_type = await asyncio.to_thread(self._exposition.render, observation, accept)
        return Response(text, headers={"content-type": content_type})

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, _: Request) -> Response:
        reason = self._not_ready()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _status(self, _: Request) -> Response:
        assert self._look is not None
        status = msgspec.json.encode(await self._look.status())
        return Response(status, media_type="application/json")

    async def _index(self, _: Request) -> Response:
        return PlainTextResponse(_INDEX)
