"""The HTTP door: uvicorn on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inferd.core.address import BACKLOG, Address
from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.access_log import AccessLog
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.http.access import LoggedHttpService
from inferd.server.gateway.http.service import Handle, HttpService
from inferd.server.gateway.http.site import Site
from inferd.wire.errors import ServingError

_log = get_logger(__name__)

KEEP_ALIVE = 75
"""Seconds that a connection without a request is kept."""

MOST_HEAD_BYTES = 64 << 10
"""Request line and headers; a caller that sends more is left."""

_LAST_WORDS = 1.0
"""Seconds to send errors to callers that were not answered within the grace."""


class HttpListenError(OSError):
    """The address for HTTP cannot be had; the message says why."""


class HttpDoor:
    """Answers HTTP requests from a bound socket. Safe to drain from any thread."""

    def __init__(
        self,
        dataplane: Dataplane,
        methods: Mapping[str, Handle],
        *,
        max_message_bytes: int,
        max_request_time: float,
        share_port: bool,
        unexpected: Callable[[BaseException, str], ServingError],
        access: AccessLog | None = None,
    ) -> None:
        """`methods` of the gRPC service, by path; `unexpected` logs what nobody foresaw.

        With `share_port` other gateways may listen at the same address; `access` logs inference.
        """
        make = HttpService if access is None else partial(LoggedHttpService, access)
        self._service: HttpService = make(
            dataplane,
            methods,
            max_message_bytes=max_message_bytes,
            max_request_time=max_request_time,
        )
        self._share_port = share_port
        self._socket: socket.socket | None = None
        config = uvicorn.Config(
            Site(self._service, unexpected),
            http=_BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # callers' mistakes are answered, not logged
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the answers carry it: uvicorn's would need a tick
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def bind(self, address: str) -> str:
        """Bind HOST:PORT and return it with the port bound; whoever connects waits for `start`.

        Raises `HttpListenError`.
        """
        wanted = Address.parse(address)
        try:
            self._socket = listener = wanted.listener(share_port=self._share_port)
        except OSError as error:
            raise HttpListenError(
                f"cannot listen on {address} for HTTP: the port is taken or the host is not this "
                f"machine's ({error.strerror})"
            ) from None
        return str(Address(wanted.host, listener.getsockname()[1]))

    def start(self) -> None:
        """Accept requests."""
        self._thread.start()

    def begin_to_drain(self) -> None:
        """Refuse new requests from now on; those in flight go on."""
        self._service.draining = True

    def drain(self, grace: float) -> None:
        """Return when all requests have been answered, with an error those that outlast `grace` s.

        Then every connection is closed.
        """
        if not self._thread.ident:
            self.close()
            return
        self._server.ready.wait()
        if self._loop is not None and self._thread.is_alive():
            draining = self._server.drain(self._service, grace)
            asyncio.run_coroutine_threadsafe(draining, self._loop)
        self._thread.join()

    def close(self) -> None:
        """Let go of the address, if it is still held."""
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # nobody waits for this thread: the log must say it
            _log.error("the HTTP door has failed", exc_info=error)
        finally:
            self._server.ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # One thread: a large request at a time bounds what their JSON takes in memory.
        self._loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="http-aside"))
        assert self._socket is not None
        await self._server.serve([self._socket])


class _Server(uvicorn.Server):
    """Without uvicorn's tick, which would wake the process ten times a second for nothing."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._over: asyncio.Event | None = None

    async def main_loop(self) -> None:
        """Return when the server is to close."""
        self._over = asyncio.Event()
        self.ready.set()
        await self._over.wait()

    async def drain(self, service: HttpService, grace: float) -> None:
        """Wait for requests in flight, `grace` seconds at most, and end `main_loop`."""
        assert self._over is not None
        until = monotonic() + grace
        try:
            await self._until_answered(until)
            if self.server_state.tasks:
                _log.warning("failing HTTP requests that outlasted the grace period", grace=grace)
                for call in list(service.calls):
                    call.give_up()
                await self._until_answered(monotonic() + _LAST_WORDS)
        finally:
            self._over.set()

    async def _until_answered(self, until: float) -> None:
        while (tasks := set(self.server_state.tasks)) and (left := until - monotonic()) > 0:
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)


class _BoundedProtocol(HttpToolsProtocol):
    """Heads of requests are bounded, which its parser leaves to others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_nbytes = 0
        self._in_head = True

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        self._head_nbytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_nbytes += len(data)
            if self._head_nbytes > MOST_HEAD_BYTES:
                self.send_400_response("The request's head is too large.")
