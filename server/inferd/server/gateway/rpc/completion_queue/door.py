"""The door: one loop over the completion queue of grpcio's own C core.

grpcio's public servers spend 117 to 147 µs of CPU on an empty unary call; this loop, on the same
core, 32.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.rpc.call import Method, Stream, Unary
from inferd.server.gateway.rpc.completion_queue.core import check_core, cygrpc
from inferd.server.gateway.rpc.completion_queue.stream import QueuedStreamCall
from inferd.server.gateway.rpc.completion_queue.unary import (
    QueuedUnaryCall,
    ignore,
    status_operation,
)
from inferd.server.gateway.rpc.faults import DoorError, unexpected
from inferd.server.gateway.rpc.options import server_options
from inferd.server.gateway.scheduling.waiting.lull import Lull
from inferd.wire.errors import Unimplemented

_log = get_logger(__name__)

_WAITING_CALLS = 128
"""Calls the core may announce before the loop asks for more."""

_NO_FLAGS = 0

_PAST = 0.0
"""A deadline that makes `poll` only look. One that is just now would be rounded up to 1 ms."""


class CompletionQueueDoor:
    """Accepts gRPC calls and hands each to its method, on the loop's one thread."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        max_message_bytes: int,
        share_port: bool = False,
        lull: Lull | None = None,
    ) -> None:
        """`methods` by path, such as `/package.Service/Method`; `share_port` with other gateways.

        `lull` is told when nothing is left to read. Raises `DoorError` where the installed grpcio is not of the known shape.
        """
        check_core()
        self._streams = {
            path.encode(): method for path, method in methods.items() if isinstance(method, Stream)
        }
        self._unary = {
            path.encode(): (path, method.handle, method.record)
            for path, method in methods.items()
            if isinstance(method, Unary)
        }
        self._lull = lull or Lull(lambda: None)
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(
            server_options(max_message_bytes, share_port=share_port),
            False,  # noqa: FBT003  # no xDS; the core takes it by position
        )
        self._server.register_completion_queue(self._queue)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)

    def bind(self, address: str) -> str:
        """Bind HOST:PORT and return it with the port bound. Raises `DoorError`."""
        try:
            port = self._server.add_http2_port(address.encode())
        except RuntimeError:
            port = 0
        if not port:
            raise DoorError(
                f"cannot listen on {address}: the port is taken or the host is not this machine's"
            )
        return f"{address.rpartition(':')[0]}:{port}"

    def start(self) -> None:
        """Accept calls."""
        self._server.start()
        for _ in range(_WAITING_CALLS):
            self._request_call()
        self._thread.start()

    def drain(self, grace: float) -> None:
        """Stop accepting; return when all calls have ended, cancelling them after `grace` s.

        `close` is due when nobody is left who might answer one of them.
        """
        self._server.shutdown(self._queue, self._on_shutdown)
        if not self._closed.wait(grace):
            _log.warning("cancelling calls that outlasted the grace period", grace=grace)
            self._server.cancel_all_calls()
            self._closed.wait()

    def close(self) -> None:
        """End the loop of a door that is drained.

        A call answered after this aborts the process, cancelled though it is: the core insists on
        a living queue.
        """
        if self._closed.is_set():
            self._queue.shutdown()
            self._thread.join()

    def _request_call(self) -> None:
        self._server.request_call(self._queue, self._queue, self._on_call)

    def _run(self) -> None:
        poll, lull = self._queue.poll, self._lull
        lull.read_here()
        over = cygrpc.CompletionType.queue_shutdown
        nothing = cygrpc.CompletionType.queue_timeout
        while True:
            if lull.wanted:
                event = poll(_PAST)
                if event.completion_type == nothing:
                    lull.reached()
                    continue
            else:
                lull.idle = True
                event = poll()
                lull.idle = False
            if event.completion_type == over:
                return
            try:
                event.tag(event)
            except Exception as error:  # the last resort: the loop carries all other calls
                unexpected(error, "door")

    def _on_call(self, event: Any) -> None:
        if not event.success:
            return  # the server is shutting down
        try:
            self._request_call()
        except ValueError:
            pass  # it began to shut down after this call had come: the last one is served, too
        path = event.call_details.method
        unary = self._unary.get(path)
        if unary is not None:
            QueuedUnaryCall(event, *unary)
        elif (method := self._streams.get(path)) is not None:
            stream = QueuedStreamCall(event, path.decode(), method.record)
            try:
                method.handle(stream)
            except Exception as error:
                stream.fail(unexpected(error, stream.method))
        else:
            self._refuse(event)

    @staticmethod
    def _refuse(event: Any) -> None:
        name = event.call_details.method.decode(errors="replace")[:128]
        event.call.start_server_batch(
            (
                cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
                status_operation(Unimplemented(f"this server has no method {name}")),
                cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),
            ),
            ignore,
        )

    def _on_shutdown(self, event: Any) -> None:
        self._closed.set()
