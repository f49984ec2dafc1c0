"""Where traces go for one sample, and what they say of each batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from on_gpu.overlap import Interval, Steps

_STEPS = ("copy in", "compute", "copy out")
_OPTIONS = [("grpc.max_receive_message_length", -1)]


@dataclass(slots=True)
class Collected:
    """What has been exported to `endpoint`, unread: the server under load must not wait for it."""

    endpoint: str
    exports: list[ExportTraceServiceRequest] = field(default_factory=list)

    def spans(self) -> Iterator[Span]:
        """All of them."""
        for export in list(self.exports):
            for resource in export.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans


class _Keeper(TraceServiceServicer):
    def __init__(self, collected: list[ExportTraceServiceRequest]) -> None:
        self._collected = collected

    def Export(  # noqa: N802 - the service's name
        self, request: ExportTraceServiceRequest, context: object
    ) -> ExportTraceServiceResponse:
        """Keep it."""
        self._collected.append(request)
        return ExportTraceServiceResponse()


@contextmanager
def collector() -> Iterator[Collected]:
    """Keeps spans while its context lasts."""
    server = grpc.server(ThreadPoolExecutor(1), options=_OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    collected = Collected(f"http://127.0.0.1:{port}")
    add_TraceServiceServicer_to_server(_Keeper(collected.exports), server)  # type: ignore[no-untyped-call]  # generated
    server.start()
    try:
        yield collected
    finally:
        server.stop(None)


def steps_of(spans: Iterable[Span]) -> list[Steps]:
    """What each batch did and when, by its beginning; of requests in one batch the first tells."""
    batches: dict[bytes, str] = {}
    below: dict[bytes, dict[str, Interval]] = {}
    for each in spans:
        if each.name == "batch":
            names = {one.key: one.value.string_value for one in each.attributes}
            batches[each.span_id] = names["inferd.batch.id"]
        elif each.name in _STEPS:
            steps = below.setdefault(each.parent_span_id, {})
            steps[each.name] = (each.start_time_unix_nano, each.end_time_unix_nano)
    found: dict[str, Steps] = {}
    for span, batch in batches.items():
        steps = below.get(span, {})
        if len(steps) == len(_STEPS):
            found.setdefault(batch, Steps(*(steps[name] for name in _STEPS)))
    return sorted(found.values(), key=lambda each: each.copy_in)
