"""Where spans go: lines of JSON on the console."""

from __future__ import annotations

import io
import json

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from inferd.server.gateway.tracing.exporters import ConsoleExporter

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
    ConsoleExporter(stream).export(request)
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
