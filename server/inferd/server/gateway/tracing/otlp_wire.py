"""Spans in the wire format of OTLP (protobuf), as far as the gateway's need it.

Made as messages, field by field, they took three times as long: here what comes again and again is kept
in pieces, and a message is one piece after another. Each function returns whole fields of the message that
its first line names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import getrandbits
from struct import Struct

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from inferd.wire.answers import varint

_WIRE_TYPES = {
    FieldDescriptor.TYPE_INT64: 0,
    FieldDescriptor.TYPE_ENUM: 0,
    FieldDescriptor.TYPE_FIXED64: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_BYTES: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
    FieldDescriptor.TYPE_FIXED32: 5,
}
_INT64 = range(-(1 << 63), 1 << 63)
_TRACE_ID, _SPAN_ID = 16, 8
"""Bytes of the ids."""

Times = tuple[int, int, int, int, int, int]


def _tag(of: type[Message], name: str, length: int | None = None) -> bytes:
    """What a field begins with, and its length if that is always the same."""
    field = of.DESCRIPTOR.fields_by_name[name]
    tag = varint(field.number << 3 | _WIRE_TYPES[field.type])
    return tag if length is None else tag + varint(length)


_RESOURCE_SPANS = _tag(ExportTraceServiceRequest, "resource_spans")
_SCOPE_SPANS = _tag(ResourceSpans, "scope_spans")
_SPAN = _tag(ScopeSpans, "spans")
_TRACE = _tag(Span, "trace_id", _TRACE_ID)
_PARENT = _tag(Span, "parent_span_id", _SPAN_ID)
_ID = _tag(Span, "span_id", _SPAN_ID)
_START, _END = _tag(Span, "start_time_unix_nano"), _tag(Span, "end_time_unix_nano")
_STATE, _NAME, _KIND = _tag(Span, "trace_state"), _tag(Span, "name"), _tag(Span, "kind")
_FLAGS, _STATUS, _ATTRIBUTE = _tag(Span, "flags"), _tag(Span, "status"), _tag(Span, "attributes")
_CODE, _MESSAGE = _tag(Status, "code"), _tag(Status, "message")
_KEY, _VALUE = _tag(KeyValue, "key"), _tag(KeyValue, "value")
_TEXT, _INT = _tag(AnyValue, "string_value"), _tag(AnyValue, "int_value")
_EVENT, _EVENT_TIME = _tag(Span, "events"), _tag(Span.Event, "time_unix_nano")
_EVENT_NAME, _EVENT_ATTRIBUTE = _tag(Span.Event, "name"), _tag(Span.Event, "attributes")
_LINK_TRACE = _tag(Span.Link, "trace_id", _TRACE_ID)
_LINK_SPAN, _LINK_FLAGS = _tag(Span.Link, "span_id", _SPAN_ID), _tag(Span.Link, "flags")

_TIME, _BITS = Struct("<Q"), Struct("<I")
_OWN = Struct(f"<{len(_ID)}s{_SPAN_ID}s{len(_START)}sQ{len(_END)}sQ")
_LINK = Struct(f"<{len(_LINK_TRACE)}s{_TRACE_ID}s{len(_LINK_SPAN)}s{_SPAN_ID}s{len(_LINK_FLAGS)}sI")
_LINK_BEGIN = _tag(Span, "links", _LINK.size)


def request(resource: bytes, scope: bytes, spans: list[bytes]) -> bytes:
    """ExportTraceServiceRequest: one ResourceSpans and one ScopeSpans, begun as given, with these spans."""
    return _sized(_RESOURCE_SPANS, resource + _sized(_SCOPE_SPANS, scope + b"".join(spans)))


def span(place: bytes, span_id: int, start_ns: int, end_ns: int, rest: bytes) -> bytes:
    """ScopeSpans: a span in its `place`, with its other fields; times since the epoch."""
    if end_ns < start_ns:
        end_ns = start_ns
    own = _OWN.pack(_ID, span_id.to_bytes(_SPAN_ID), _START, start_ns, _END, end_ns)
    return b"".join((_SPAN, varint(len(place) + len(own) + len(rest)), place, own, rest))


def step(place: bytes, start_ns: int, end_ns: int, rest: bytes) -> bytes:
    """ScopeSpans: a span with a new id."""
    return span(place, getrandbits(64) or 1, start_ns, end_ns, rest)


def three_steps(rests: tuple[bytes, bytes, bytes], place: bytes, times: Times) -> bytes:
    """ScopeSpans: as three times `step`, at half the cost; `times` are start, end, start, and so on."""
    one, two, three, pack = _layout(rests, len(place))
    start, end, start2, end2, start3, end3 = times
    if end < start:
        end = start
    if end2 < start2:
        end2 = start2
    if end3 < start3:
        end3 = start3
    return pack(
        one,
        place,
        _ID,
        getrandbits(64) or 1,
        _START,
        start,
        _END,
        end,
        two,
        place,
        _ID,
        getrandbits(64) or 1,
        _START,
        start2,
        _END,
        end2,
        three,
        place,
        _ID,
        getrandbits(64) or 1,
        _START,
        start3,
        _END,
        end3,
    )


@lru_cache(1024)
def _layout(
    rests: tuple[bytes, bytes, bytes], place: int
) -> tuple[bytes, bytes, bytes, Callable[..., bytes]]:
    """What each span begins with, `rests` among it, and what packs them all with their values."""
    one, two, three = (_SPAN + varint(place + _OWN.size + len(rest)) + rest for rest in rests)
    own = _OWN.format.removeprefix("<").replace(f"{_SPAN_ID}s", "Q", 1)
    parts = [f"{len(head)}s{place}s{own}" for head in (one, two, three)]
    return one, two, three, Struct("<" + "".join(parts)).pack


def trace(trace_id: int) -> bytes:
    """Span: the trace that it is in."""
    return _TRACE + trace_id.to_bytes(_TRACE_ID)


def parent(span_id: int) -> bytes:
    """Span: the one that it is below."""
    return _PARENT + span_id.to_bytes(_SPAN_ID)


def trace_state(header: str) -> bytes:
    """Span: the state of its trace."""
    return _sized(_STATE, header.encode())


def named(name: str, kind: int, flags: int) -> bytes:
    """Span: its name, kind and flags."""
    return b"".join((_sized(_NAME, name.encode()), _KIND, varint(kind), _FLAGS, _BITS.pack(flags)))


def status(code: int, message: str) -> bytes:
    """Span: how it ended."""
    return _sized(_STATUS, _CODE + varint(code) + _sized(_MESSAGE, message.encode()))


def attribute(key: str, value: str | int) -> bytes:
    """Span: one attribute. Raises `OverflowError` for a number of more than 64 bits."""
    if isinstance(value, str):
        text = value.encode()
        return _before_text(_ATTRIBUTE, key, len(text)) + text
    return _sized(_ATTRIBUTE, _number(key, value))


@lru_cache(1024)
def _before_text(tag: bytes, key: str, length: int) -> bytes:
    """All of a KeyValue but its text: the same for each of this length."""
    text = bytes(length)
    told = _sized(_KEY, key.encode()) + _sized(_VALUE, _sized(_TEXT, text))
    return _sized(tag, told).removesuffix(text)


def link(trace_id: int, span_id: int, flags: int) -> bytes:
    """Span: a link to another."""
    return _LINK_BEGIN + _LINK.pack(
        _LINK_TRACE,
        trace_id.to_bytes(_TRACE_ID),
        _LINK_SPAN,
        span_id.to_bytes(_SPAN_ID),
        _LINK_FLAGS,
        flags,
    )


def event(name: str, time_ns: int, key: str, number: int) -> bytes:
    """Span: what happened at a time since the epoch, with one attribute."""
    return _sized(
        _EVENT,
        b"".join(
            (
                _EVENT_TIME,
                _TIME.pack(time_ns),
                _sized(_EVENT_NAME, name.encode()),
                _sized(_EVENT_ATTRIBUTE, _number(key, number)),
            )
        ),
    )


def _number(key: str, value: int) -> bytes:
    if value not in _INT64:
        raise OverflowError(f"{key} is {value}; expected a number of 64 bits")
    encoded = varint(value & (1 << 64) - 1)  # a negative one as of 64 bits
    return _sized(_KEY, key.encode()) + _sized(_VALUE, _INT + encoded)


def _sized(tag: bytes, content: bytes) -> bytes:
    return b"".join((tag, varint(len(content)), content))
