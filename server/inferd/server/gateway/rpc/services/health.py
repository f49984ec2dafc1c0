"""grpc.health.v1: the server under "" and its service's name, each model under `model/NAME`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from inferd.protos.services import INFERENCE_SERVICE
from inferd.server.gateway.rpc.call import Method, Stream, StreamCall, Unary, UnaryCall
from inferd.server.gateway.rpc.services.decoding import decode
from inferd.wire.errors import Draining, InvalidRequest, NotFound

SERVICE = "grpc.health.v1.Health"

MODEL_PREFIX = "model/"

_SERVING: int = HealthCheckResponse.SERVING
_NOT_SERVING: int = HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: int = HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Truthful health: SERVING means that a request sent now would be executed.

    Watching costs no thread: `changed` tells every watcher whose answer is another one now.
    """

    def __init__(
        self,
        *,
        server_ready: Callable[[], bool],
        model_known: Callable[[str], bool],
        model_ready: Callable[[str], bool],
    ) -> None:
        self._server_ready = server_ready
        self._model_known = model_known
        self._model_ready = model_ready
        self._lock = threading.Lock()
        self._watchers: dict[StreamCall, tuple[str, int]] = {}
        self._closed = False

    def methods(self) -> Mapping[str, Method]:
        """The service's methods by path."""
        return {f"/{SERVICE}/Check": Unary(self._check), f"/{SERVICE}/Watch": Stream(self._watch)}

    def changed(self) -> None:
        """Readiness may have changed: tell the watchers whom it concerns."""
        with self._lock:
            for call, (name, last) in list(self._watchers.items()):
                status = self._status(name)
                if status != last:
                    self._watchers[call] = (name, status)
                    call.send(HealthCheckResponse(status=status).SerializeToString())

    def close(self) -> None:
        """End every watch: they would last as long as their callers, and a drain with them."""
        with self._lock:
            self._closed = True
            watchers = list(self._watchers)
            self._watchers.clear()
        for call in watchers:
            call.fail(_draining())

    def _status(self, name: str) -> int:
        if name in ("", INFERENCE_SERVICE):
            ready = self._server_ready()
        elif name.startswith(MODEL_PREFIX) and self._model_known(name[len(MODEL_PREFIX) :]):
            ready = self._model_ready(name[len(MODEL_PREFIX) :])
        else:
            return _SERVICE_UNKNOWN
        return _SERVING if ready else _NOT_SERVING

    def _check(self, call: UnaryCall) -> None:
        name = decode(HealthCheckRequest, call.payload).service
        status = self._status(name)
        if status == _SERVICE_UNKNOWN:
            raise NotFound(
                f"no service '{name[:128]}' is known to health; ask for '' (the server), "
                f"'{INFERENCE_SERVICE}' or '{MODEL_PREFIX}NAME'"
            )
        call.reply(HealthCheckResponse(status=status).SerializeToString())

    def _watch(self, call: StreamCall) -> None:
        def asked(payload: bytes | None) -> None:
            if payload is None:
                raise InvalidRequest("the call ended without a message", reason="NO_MESSAGE")
            name = decode(HealthCheckRequest, payload).service
            call.on_cancel = lambda: self._leave(call)
            with self._lock:
                if self._closed:
                    raise _draining()
                status = self._status(name)
                self._watchers[call] = (name, status)
                call.send(HealthCheckResponse(status=status).SerializeToString())

        call.receive(asked)

    def _leave(self, call: StreamCall) -> None:
        with self._lock:
            self._watchers.pop(call, None)


def _draining() -> Draining:
    return Draining("the server is shutting down; watch another one")
