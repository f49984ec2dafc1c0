"""Where spans go: to a collector, or to where the logs go."""

from __future__ import annotations

import sys
from typing import Any, Literal, Protocol, TextIO

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    DESCRIPTOR,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from inferd.core.telemetry.ecs import encode

_EXPORT = f"/{DESCRIPTOR.services_by_name['TraceService'].full_name}/Export"


class Exporter(Protocol):
    """Takes spans in the format of OTLP, on one thread."""

    def export(self, spans: bytes) -> object:
        """Send a serialised ExportTraceServiceRequest. A collector that does not take them is logged, not raised."""

    def shutdown(self) -> None:
        """Let go of what was opened."""


class ConsoleExporter:
    """One line of JSON for each span, ids in hex as OTLP has them in JSON and attributes by their names."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """`stream` is stderr if not given."""
        self._stream = stream or sys.stderr

    def export(self, spans: bytes) -> None:
        """Write them."""
        lines = [
            encode(_readable(span) | {"resource": _attributes(resource.resource)}) + "\n"
            for resource in ExportTraceServiceRequest.FromString(spans).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        for line in lines:  # each in one piece: others write there, too
            self._stream.write(line)
        self._stream.flush()

    def shutdown(self) -> None:
        """Leave the stream as it is."""


def open_exporter(kind: Literal["otlp", "console"]) -> Exporter:
    """The exporter of this kind, as OTEL_* variables say where to and how."""
    return ConsoleExporter() if kind == "console" else _otlp()


def _otlp() -> Exporter:
    # An extra of its own, and of no use without a collector.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    class Encoded(OTLPSpanExporter):
        """The exporter, with its variables, TLS, retries and compression, for what is serialised already."""

        def _initialize_channel_and_stub(self) -> None:
            self._stub: Any = _Collector
            super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]

        def _translate_data(self, data: Any) -> Any:
            # Where a later SDK makes its stub in another way, that one wants a message.
            bare = isinstance(self._client, _Collector)
            return data if bare else ExportTraceServiceRequest.FromString(data)

        def _count_data(self, _: Any) -> int:
            return 0  # for metrics of its own, which a gateway keeps none of

    exporter: Any = Encoded()
    return exporter  # type: ignore[no-any-return]  # takes what `_translate_data` gives back


class _Collector:
    """As the generated stub, but sends what it is given as it is.

    Made into messages first, to be serialised anew, spans took the thread a quarter to a half as long again.
    """

    def __init__(self, channel: Any) -> None:
        self.Export = channel.unary_unary(
            _EXPORT, response_deserializer=ExportTraceServiceResponse.FromString
        )


def _readable(span: Span) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(span)
    told |= {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "attributes": _attributes(span),
    }
    if span.parent_span_id:
        told["parentSpanId"] = span.parent_span_id.hex()
    for link, shown in zip(span.links, told.get("links", []), strict=True):
        shown |= {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()}
    for event, shown in zip(span.events, told.get("events", []), strict=True):
        shown["attributes"] = _attributes(event)
    return told


def _attributes(of: Span | Span.Event | Resource) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in of.attributes
    }
