"""The operations port: HTTP on the supervisor's own event loop, away from the data path."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from inferd.core.address import Address

Endpoint = Callable[[Request], Awaitable[Response]]

ADVICE = (
    "name another address for metrics and probes with --ops HOST:PORT, port 0 for any free one, or "
    "--ops off"
)
"""What an operator can do about an address that cannot be had."""


class OpsListenError(OSError):
    """The address cannot be had; the message says why and what to do."""


class OpsDoor:
    """Answers GET on a few paths. Lives in the event loop that it is started in."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        """`endpoints` by path."""
        routes = [Route(path, each, methods=["GET"]) for path, each in endpoints.items()]
        config = uvicorn.Config(
            Router(routes, redirect_slashes=False),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # callers' mistakes are answered, not logged
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    def bind(self, address: Address) -> str:
        """Bind and return HOST:PORT with the port bound. Raises `OpsListenError`."""
        try:
            self._socket = address.listener()
        except OSError as error:
            raise OpsListenError(
                f"cannot listen on {address}: the port is taken or the host is not this machine's "
                f"({error.strerror}); {ADVICE}"
            ) from None
        return str(Address(address.host, self._socket.getsockname()[1]))

    def start(self) -> None:
        """Answer from now on."""
        assert self._socket is not None
        self._serving = asyncio.create_task(self._server.serve([self._socket]), name="ops")

    async def close(self) -> None:
        """Finish what is being answered, within a second, and let go of the address."""
        if self._serving is not None:
            self._server.over.set()
            await self._serving
        self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """Without uvicorn's tick and its signal handlers: the supervisor has both."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone: uvicorn would raise each once more when it closes."""
        yield

    async def main_loop(self) -> None:
        """Return when the server is to close."""
        await self.over.wait()
