"""Where spans go: lines of JSON on the console, or a collector."""

from __future__ import annotations

import io
import json
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from inferd.server.gateway.tracing.exporters import ConsoleExporter, open_exporter
from support.collector import Collector

TEXT = KeyValue(key="inferd.model", value=AnyValue(string_value="m\x1b\x7f\u202e"))
MINE = KeyValue(key="service.name", value=AnyValue(string_value="mine"))
ROWS = KeyValue(key="inferd.rows", value=AnyValue(int_value=3))


def test_a_line_for_each_span() -> None:
    """Ids in hex wherever they are, attributes by their names, nothing that drives a terminal."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend([MINE])
    spans = resource.scope_spans.add().spans
    root = spans.add(trace_id=b"\xab" * 16, span_id=b"\x01" * 8, name="root", kind=2)
    root.attributes.extend([TEXT, ROWS])
    root.events.add(name="answer", attributes=[ROWS])
    child = spans.add(trace_id=b"\xab" * 16, span_id=b"\x02" * 8, parent_span_id=b"\x01" * 8)
    child.links.add(trace_id=b"\xcd" * 16, span_id=b"\x03" * 8)
    stream = io.StringIO()
    ConsoleExporter(stream).export(request.SerializeToString())
    assert stream.getvalue().isascii()
    assert not {"\x1b", "\x7f"} & set(stream.getvalue())
    one, other = map(json.loads, stream.getvalue().splitlines())
    assert one == {
        "traceId": "ab" * 16,
        "spanId": "01" * 8,
        "name": "root",
        "kind": "SPAN_KIND_SERVER",
        "attributes": {"inferd.model": "m\x1b\x7f\u202e", "inferd.rows": 3},
        "events": [{"name": "answer", "attributes": {"inferd.rows": 3}}],
        "resource": {"service.name": "mine"},
    }
    assert other["parentSpanId"] == "01" * 8
    assert other["links"] == [{"traceId": "cd" * 16, "spanId": "03" * 8}]
    assert Span.SpanKind.Name(root.kind) == one["kind"]


class Away(Collector):
    """Is not there for the first that it is sent, and wants it again at once."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def Export(  # noqa: N802  # the service's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        """Refuse once, then keep these."""
        if not self.refused:
            self.refused += 1
            at_once = ("google.rpc.retryinfo-bin", RetryInfo().SerializeToString())
            context.set_trailing_metadata((at_once,))
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return super().Export(request, context)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_a_collector_that_was_away(monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    """It gets each span once it is there, also where it is to be compressed, over the connection made anew."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=b"\xab" * 16, span_id=b"\x01" * 8, name="a")
    spans.add(trace_id=b"\xab" * 16, span_id=b"\x02" * 8, name="b" * 1000)
    with Away() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        if compression:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        exporter = open_exporter("otlp")
        exporter.export(request.SerializeToString())
        exporter.export(request.SerializeToString())
        exporter.shutdown()
    assert collector.refused == 1
    assert [each.name for each in collector.spans] == ["a", "b" * 1000] * 2


def test_an_exporter_with_a_stub_of_its_own_making(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets messages: no span is lost to an SDK that takes another way to its stub than ours."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\xab" * 16, span_id=b"\x01" * 8, name="a"
    )
    with Collector() as collector, grpc.insecure_channel(collector.endpoint[7:]) as channel:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        exporter: Any = open_exporter("otlp")
        exporter._client = TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        exporter.export(request.SerializeToString())
        exporter.shutdown()
    assert [each.name for each in collector.spans] == ["a"]
