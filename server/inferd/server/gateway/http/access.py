"""The HTTP service with an access log."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic

from starlette.requests import Request

from inferd.server.gateway.access_log import AccessLog, Entry, named_in, trace_id_of
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.http.answers import Answer
from inferd.server.gateway.http.call import HttpCall
from inferd.server.gateway.http.service import Handle, HttpService
from inferd.wire.errors import Cancelled, ServingError, Unexpected

_entry: ContextVar[Entry | None] = ContextVar("entry", default=None)


class LoggedHttpService(HttpService):
    """Logs sampled inference requests, those refused before they reach a model among them."""

    def __init__(
        self,
        access: AccessLog,
        dataplane: Dataplane,
        methods: Mapping[str, Handle],
        *,
        max_message_bytes: int,
        max_request_time: float,
    ) -> None:
        """As `HttpService`; requests are logged to `access`."""
        super().__init__(
            dataplane,
            methods,
            max_message_bytes=max_message_bytes,
            max_request_time=max_request_time,
        )
        self._access = access

    async def infer(self, request: Request) -> Answer:
        """Execute a model."""
        if not self._access.samples():
            return await super().infer(request)
        entry = _entry_of(request)
        _entry.set(entry)  # each request has a task, and a context, of its own
        failure: ServingError | None = Cancelled("the request was given up")
        try:
            answer = await super().infer(request)
        except ServingError as error:
            failure = error
            raise
        except Exception:
            failure = Unexpected("")
            raise
        else:
            entry.bytes_out = answer.nbytes
            failure = None
            return answer
        finally:
            _entry.set(None)
            self._access.end(entry, failure)

    def wrong_method(self, request: Request, route: str, error: ServingError) -> None:
        """As `HttpService.wrong_method`."""
        if not self._access.samples():
            super().wrong_method(request, route, error)
            return
        entry = _entry_of(request)
        _entry.set(entry)
        try:
            super().wrong_method(request, route, error)
        finally:
            _entry.set(None)
            self._access.end(entry, error)

    def _refused(self, call: HttpCall, model: str, version: str, error: ServingError) -> None:
        if (entry := _entry.get()) is not None:
            call.traced = entry.traced
        super()._refused(call, model, version, error)

    async def _outcome(self, call: HttpCall, handle: Handle) -> bytes:
        if (entry := _entry.get()) is not None:
            entry.request_id = named_in(call.payload)[2]
            entry.bytes_in = entry.bytes_in or len(call.payload)
            call.traced = entry.traced
        return await super()._outcome(call, handle)


def _entry_of(request: Request) -> Entry:
    length = request.headers.get("content-length", "")
    named = request.path_params
    return Entry(
        protocol="http",
        method="ModelInfer",
        model=named["name"],
        version=named.get("version", ""),
        request_id="",
        bytes_in=int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0,
        peer=f"[{request.client.host}]:{request.client.port}" if request.client else "",
        trace_id=trace_id_of(request.headers.get("traceparent")),
        arrived=monotonic(),
    )
