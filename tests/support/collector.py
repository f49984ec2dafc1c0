"""A collector of traces: OTLP over gRPC on a free port of 127.0.0.1."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE}-{CALLER}-00"),)
"""What a caller sends whose span is traced, or is not."""

SERVER = trace_pb2.Span.SPAN_KIND_SERVER


@dataclass(frozen=True)
class Span:
    """One span; ids in hex, times in nanoseconds since the epoch, links as (trace, span)."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    error: str | None
    """The status's text, if it is an error."""
    resource: dict[str, Any]

    @property
    def ns(self) -> int:
        """How long it lasted."""
        return self.end - self.start


class Collector(TraceServiceServicer):
    """Keeps what is exported to `endpoint` while its context lasts."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(1))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]  # generated
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def Export(  # noqa: N802  # the service's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        """Keep these."""
        with self._changed:
            for each in request.resource_spans:
                resource = _plain(each.resource.attributes)
                for scope in each.scope_spans:
                    self.spans += [_span(span, resource) for span in scope.spans]
            self._changed.notify_all()
        return ExportTraceServiceResponse()

    def roots(self, **attributes: object) -> list[Span]:
        """The server spans with these attributes, `inferd.` left out, by their start."""
        wanted = {f"inferd.{key}": value for key, value in attributes.items()}
        found = [
            each
            for each in self.spans
            if each.kind == SERVER and wanted.items() <= each.attributes.items()
        ]
        return sorted(found, key=lambda each: each.start)

    def root(self, **attributes: object) -> Span:
        """The only one of them."""
        (found,) = self.roots(**attributes)
        return found

    def wait_for(self, attribute: str, value: object) -> Span:
        """The first span with this attribute, once it has come."""
        found: list[Span] = []

        def come() -> bool:
            found[:] = [each for each in self.spans if each.attributes.get(attribute) == value]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(come, timeout=20), f"no span with {attribute} {value}"
        return found[0]

    def below(self, span: Span, name: str | None = None) -> list[Span]:
        """Its children, by their start."""
        found = [
            each
            for each in self.spans
            if (each.trace, each.parent) == (span.trace, span.id) and name in (None, each.name)
        ]
        return sorted(found, key=lambda each: (each.start, each.end))

    def batches(self) -> list[Span]:
        """The spans of whole batches, by their start."""
        return sorted(
            [each for each in self.spans if each.name == "execute"], key=lambda each: each.start
        )

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def names(spans: Iterable[Span]) -> list[str]:
    """Their names."""
    return [each.name for each in spans]


def check_whole(collector: Collector, root: Span, expected: list[str]) -> list[Span]:
    """Its parts are these, one after another from its beginning to its end."""
    parts = collector.below(root)
    assert names(parts) == expected
    assert abs(parts[0].start - root.start) < 1000  # the clock's fractions of a microsecond
    assert abs(parts[-1].end - root.end) < 1000
    for one, other in pairwise(parts):
        assert abs(one.end - other.start) < 1000
    return parts


def _span(span: trace_pb2.Span, resource: dict[str, Any]) -> Span:
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _plain(span.attributes),
        tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links),
        tuple(each.name for each in span.events),
        span.status.message if failed else None,
        resource,
    )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in attributes
    }
