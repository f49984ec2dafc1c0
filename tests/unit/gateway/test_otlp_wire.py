"""Spans written as bytes are what protobuf makes of the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from structlog.testing import capture_logs

from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.server.gateway.tracing import otlp_wire
from inferd.server.gateway.tracing.spans import SpanMaker
from inferd.server.gateway.tracing.tracer import Tracer
from inferd.wire.errors import QueueFull
from support.collector import CALLER, SAMPLED, TRACE

TRACE_ID, PARENT, OWN = 1 << 127 | 5, 7, 1 << 63 | 9
NUMBERS = (0, 1, 127, 128, 1 << 40, (1 << 63) - 1, -1, -(1 << 63))
TEXTS = ("", "OK", "naïve 模型 \U0001f600", "\x00\x7f", "x" * 127, "é" * 128, "x" * 20000)
LATE = 10**18


def parsed(rest: bytes) -> Span:
    """A span of these fields."""
    return Span.FromString(rest)


def spans_of(request: bytes) -> list[Span]:
    """Those that are exported with it."""
    (resource,) = ExportTraceServiceRequest.FromString(request).resource_spans
    (scope,) = resource.scope_spans
    return list(scope.spans)


def of(number: int, size: int) -> bytes:
    """An id as spans have it."""
    return number.to_bytes(size, "big")


@pytest.mark.parametrize("value", [*NUMBERS, *TEXTS], ids=lambda value: str(value)[:20])
def test_attributes(value: str | int) -> None:
    """Numbers of 64 bits with their sign, texts of any script and length."""
    told = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    expected = Span(attributes=[KeyValue(key="inferd.ключ", value=told)])
    assert parsed(otlp_wire.attribute("inferd.ключ", value)) == expected


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_a_number_of_more_bits_is_refused(value: int) -> None:
    """As protobuf does, instead of another number."""
    with pytest.raises(OverflowError, match="64 bits"):
        otlp_wire.attribute("x", value)


def test_every_other_field() -> None:
    """Place, name, kind, flags, state, status, links and events."""
    link = Span.Link(trace_id=of(TRACE_ID, 16), span_id=of(OWN, 8), flags=257)
    event = Span.Event(time_unix_nano=LATE, name="answér")
    event.attributes.add(key="index", value=AnyValue(int_value=300))
    for written, expected in (
        (otlp_wire.trace(TRACE_ID), Span(trace_id=of(TRACE_ID, 16))),
        (otlp_wire.parent(PARENT), Span(parent_span_id=of(PARENT, 8))),
        (otlp_wire.trace_state("a=1,b=2"), Span(trace_state="a=1,b=2")),
        (otlp_wire.named("né", 2, 0x301), Span(name="né", kind=Span.SPAN_KIND_SERVER, flags=0x301)),
        (
            otlp_wire.status(2, "FULL"),
            Span(status=Status(code=Status.STATUS_CODE_ERROR, message="FULL")),
        ),
        (otlp_wire.link(TRACE_ID, OWN, 257), Span(links=[link])),
        (otlp_wire.event("answér", LATE, "index", 300), Span(events=[event])),
    ):
        assert parsed(written) == expected


@pytest.mark.parametrize("length", [0, 60, 100, 20000])
def test_a_request_of_spans(length: int) -> None:
    """Each with its place, id and times, however long; none ends before it begins."""
    place = otlp_wire.trace(TRACE_ID) + otlp_wire.parent(PARENT)
    rest = otlp_wire.trace_state("x" * length)
    spans = [
        otlp_wire.span(place, OWN, LATE, LATE + 5, rest),
        otlp_wire.span(place, OWN, LATE, LATE - 5, rest),
    ]
    resource, scope = ResourceSpans(schema_url="r"), ScopeSpans(schema_url="s")
    given = resource.SerializeToString(), scope.SerializeToString()
    for end in (LATE + 5, LATE):
        scope.spans.add(
            trace_id=of(TRACE_ID, 16),
            parent_span_id=of(PARENT, 8),
            span_id=of(OWN, 8),
            start_time_unix_nano=LATE,
            end_time_unix_nano=end,
            trace_state="x" * length,
        )
    resource.scope_spans.append(scope)
    expected = ExportTraceServiceRequest(resource_spans=[resource])
    assert ExportTraceServiceRequest.FromString(otlp_wire.request(*given, spans)) == expected


def test_three_steps_are_three_spans() -> None:
    """Like single ones, each with an id of its own."""
    rests = tuple(otlp_wire.named(name, 1, 256) for name in ("a", "b" * 200, ""))
    place = otlp_wire.trace(TRACE_ID) + otlp_wire.parent(PARENT) + otlp_wire.trace_state("a=1")
    times = [(1, 2), (LATE, LATE + 1), (5, 4)]
    (one, two), (three, four), (five, six) = times
    assert len(rests) == 3
    written = otlp_wire.three_steps(rests, place, (one, two, three, four, five, six))
    found = ScopeSpans.FromString(written).spans
    assert len({each.span_id for each in found}) == 3
    for each, rest, (start, end) in zip(found, rests, times, strict=True):
        own = int.from_bytes(each.span_id, "big")
        (single,) = ScopeSpans.FromString(otlp_wire.span(place, own, start, end, rest)).spans
        assert own
        assert each == single


def noted() -> tuple[Observation, ObservedBatch]:
    """A request with all there is to tell, and its batch."""
    over: list[Any] = []
    headers = (*SAMPLED, ("tracestate", "a=1,b=2"))
    seen = Observation("/s/Infer", 1.0, Tracer(1.0, over.append).decide(headers))
    seen.model, seen.version, seen.request_id = "modèl", "3", "é" * 200
    seen.rows, seen.entered, seen.taken = 2, 1.5, 2.0
    batch: Any = SimpleNamespace(rows=2, step=0, pieces=[], taken=2.0)
    executed = ObservedBatch(batch, [seen], 1, "cuda:0", "7-1", requests=1)
    executed.completed(3.0, (10, 20, 30), (2_100_000_000, 2_200_000_000, 2_300_000_000))
    seen.end()
    seen.ended = 4.0
    return seen, executed


def test_a_request_and_its_batch() -> None:
    """Who is below whom, when, and what each tells, as it was when protobuf made the spans."""
    seen, executed = noted()
    made = SpanMaker(Resource({"a": "é", "n": -3, "b": True})).make([seen, executed], LATE)
    (resource,) = ExportTraceServiceRequest.FromString(made).resource_spans
    assert [each.value.int_value for each in resource.resource.attributes] == [0, -3, 1]
    (scope,) = resource.scope_spans
    assert scope.scope.name == "inferd"
    spans = {each.name: each for each in scope.spans}
    assert len(spans) == len(scope.spans) == 9
    root, part = spans["s/Infer"], spans["batch"]
    assert root.parent_span_id.hex() == CALLER
    assert (root.flags, part.flags, part.links[0].flags) == (0x301, 0x101, 0x101)
    told = {each.key: each.value for each in root.attributes}
    assert told["inferd.request_id"].string_value == "é" * 128
    assert told["inferd.model"].string_value == "modèl"
    assert told["inferd.rows"].int_value == 2
    below = {"admit": root, "queue": root, "batch": root, "answer": root, "execute": part}
    below |= dict.fromkeys(("copy in", "compute", "copy out"), part)
    assert all(spans[name].parent_span_id == each.span_id for name, each in below.items())
    assert {each.trace_id.hex() for each in scope.spans} == {TRACE}
    states = [each.trace_state for name, each in spans.items() if name != "execute"]
    assert states == ["a=1,b=2"] * 8
    seconds = {"admit": (1, 1.5), "queue": (1.5, 2), "batch": (2, 3), "answer": (3, 4)}
    seconds |= {"execute": (2, 3), "s/Infer": (1, 4)}
    for name, times in seconds.items():
        start, end = spans[name].start_time_unix_nano, spans[name].end_time_unix_nano
        assert ((start - LATE) / 1e9, (end - LATE) / 1e9) == times
    assert spans["compute"].end_time_unix_nano - spans["compute"].start_time_unix_nano == 20
    assert spans["execute"].attributes == part.attributes


def test_what_cannot_be_written_costs_the_others_nothing() -> None:
    """Their spans are made, and it is told that some are lost."""
    seen, executed = noted()
    seen.request_id = "\ud800"
    with capture_logs() as told:
        made = SpanMaker(Resource({})).make([seen, executed], LATE)
    assert [each.name for each in spans_of(made)] == ["execute"]
    assert [each["event"] for each in told] == ["spans are lost"]
    failed, _ = noted()
    failed.error = QueueFull("the caller's text")
    made = SpanMaker(Resource({})).make([failed], LATE)
    (root, *_) = spans_of(made)
    assert root.status == Status(code=Status.STATUS_CODE_ERROR, message="QUEUE_FULL")
