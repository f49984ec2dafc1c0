"""The door on grpc.aio: slower than the completion queue, and public."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import grpc

from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.rpc.aio.handover import Handover
from inferd.server.gateway.rpc.aio.stream import stream_handler
from inferd.server.gateway.rpc.aio.unary import end, unary_handler
from inferd.server.gateway.rpc.call import Method, Unary
from inferd.server.gateway.rpc.faults import DoorError
from inferd.server.gateway.rpc.options import server_options
from inferd.server.gateway.scheduling.waiting.lull import Lull
from inferd.wire.errors import Unimplemented

_log = get_logger(__name__)

_LOOK = 0.1
"""Seconds between two looks at whether the server still accepts; it does not tell of its end."""

_NEVER = 1e6
"""The grace, in seconds, of a server whose calls nobody wants to cut short."""

Result = TypeVar("Result")


class AioDoor:
    """Accepts gRPC calls and hands each to its method, on the one thread of an asyncio loop.

    A server of grpc.aio stops accepting for good when a caller's path is not UTF-8. Another one
    then takes its place, and the fallen one ends with the calls that it still has.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        max_message_bytes: int,
        share_port: bool = False,
        lull: Lull | None = None,
    ) -> None:
        """`methods` by path, such as `/package.Service/Method`; `share_port` with other gateways.

        `lull` is left idle: an asyncio loop does not know what has arrived.
        """
        self._methods = methods
        self._options = server_options(max_message_bytes, share_port=share_port)
        self._loop = asyncio.new_event_loop()
        self._handover = Handover(self._loop)
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self._servers: list[grpc.aio.Server] = []  # the last one accepts
        self._keeper: asyncio.Task[None] | None = None
        self._burials: set[asyncio.Task[None]] = set()
        self._address = ""
        self._drained = False

    def bind(self, address: str) -> str:
        """Bind HOST:PORT and return it with the port bound. Raises `DoorError`."""
        self._thread.start()
        try:
            port = self._perform(self._listen(address))
        except RuntimeError as error:
            self._end()
            raise DoorError(
                f"cannot listen on {address}: the port is taken or the host is not this machine's"
            ) from error
        self._address = f"{address.rpartition(':')[0]}:{port}"
        return self._address

    def start(self) -> None:
        """Accept calls."""
        self._perform(self._start())

    def drain(self, grace: float) -> None:
        """Stop accepting; return when all calls have ended, cancelling them after `grace` s."""
        self._perform(self._stop(grace))

    def close(self) -> None:
        """End the loop of a door that is drained. Who answers a call after this is not heard."""
        if self._drained:
            self._end()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._handover.settle()
        self._loop.run_forever()
        self._loop.close()

    def _perform(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end(self) -> None:
        self._handover.close()
        self._perform(self._tidy())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _tidy(self) -> None:
        """Let what belongs to ended calls end, and let go of the servers on their own thread."""
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        if remaining:
            await asyncio.wait(remaining)
        self._servers.clear()

    async def _listen(self, address: str) -> int:
        """Bind one more server. Raises `RuntimeError`."""
        handlers = _Handlers(self._methods, self._handover)
        server = grpc.aio.server(handlers=(handlers,), options=self._options)
        port = server.add_insecure_port(address)
        self._servers.append(server)
        return port

    async def _start(self) -> None:
        await self._servers[-1].start()
        self._keeper = self._loop.create_task(self._keep())

    async def _keep(self) -> None:
        """Replace the server whenever it has fallen."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._servers[-1].start()  # does nothing to a server that runs
            except grpc.aio.UsageError:
                _log.error("grpc.aio's server has stopped by itself: listening anew")
                await self._replace()

    async def _replace(self) -> None:
        fallen = self._servers[-1]
        try:
            await self._listen(self._address)
        except RuntimeError as error:
            _log.error("cannot listen yet", address=self._address, error=str(error))
            return
        burial = self._loop.create_task(self._bury(fallen))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        await self._servers[-1].start()

    async def _bury(self, fallen: grpc.aio.Server) -> None:
        """Let go of a server when its last call has ended."""
        await fallen.stop(_NEVER)
        self._servers.remove(fallen)

    async def _stop(self, grace: float) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        late = self._loop.call_later(grace, _tell_late, grace)
        await asyncio.gather(*[each.stop(grace) for each in self._servers])
        late.cancel()
        self._drained = True


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Finds what to do with a call by its path."""

    def __init__(self, methods: Mapping[str, Method], handover: Handover) -> None:
        self._handlers = {
            path: unary_handler(path, method, handover)
            if isinstance(method, Unary)
            else stream_handler(path, method, handover)
            for path, method in methods.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call: for an unknown path, one that says so."""
        path = handler_call_details.method
        return self._handlers.get(path) or _refuse(path)


def _refuse(path: str) -> Any:
    async def refuse(_: object, context: Any) -> None:
        await end(context, Unimplemented(f"this server has no method {path[:128]}"))

    return grpc.stream_stream_rpc_method_handler(refuse)


def _tell_late(grace: float) -> None:
    _log.warning("cancelling calls that outlasted the grace period", grace=grace)
