"""Where the traces of a server under load go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

Take = Callable[[ExportTraceServiceRequest], object]

_OPTIONS = [("grpc.max_receive_message_length", -1)]


@contextmanager
def collector(take: Take | None = None) -> Iterator[str]:
    """Where traces may go while the context lasts, as OTEL_EXPORTER_OTLP_ENDPOINT has it.

    `take` gets each export; it is for another time to read it: the server under load must not wait.
    """
    server = grpc.server(ThreadPoolExecutor(1), options=_OPTIONS)
    add_TraceServiceServicer_to_server(_Sink(take), server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None)


class _Sink(TraceServiceServicer):
    def __init__(self, take: Take | None) -> None:
        self._take = take

    def Export(  # noqa: N802 - the service's name
        self, request: ExportTraceServiceRequest, context: object
    ) -> ExportTraceServiceResponse:
        """Hand it on, or forget it."""
        if self._take is not None:
            self._take(request)
        return ExportTraceServiceResponse()
