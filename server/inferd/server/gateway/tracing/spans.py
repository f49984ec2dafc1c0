"""The spans of what was noted, made after the fact in the format that they are exported in (OTLP).

Not with the SDK's spans: making and encoding those took six times as long, on a thread that takes the
interpreter from requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv._incubating.attributes import rpc_attributes as rpc
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.trace import TraceFlags

from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import BatchSpan, Observation, Trace
from inferd.wire.errors import ServingError
from inferd.wire.status import code_of, http_status_of

_LOCAL = TraceFlags.SAMPLED | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
"""Flags of a sampled span whose parent, or of a link whose end, is ours or somebody else's."""

_MOST_TEXT = 128
"""Characters of what callers have written: names and ids."""

_KNOWN = 1024
"""Attributes that are remembered, with their values."""

_log = get_logger(__name__)

Attributes = Mapping[str, str | int]
Over = Observation | ObservedBatch


class Spans(Protocol):
    """Where spans are added: a repeated field of them."""

    def add(self, **fields: object) -> Span:
        """One more."""


class SpanMaker:
    """Makes spans with the ids and times that were noted."""

    def __init__(self, resource: Resource) -> None:
        """`resource` is who makes them."""
        told = {
            key: each for key, each in resource.attributes.items() if isinstance(each, str | int)
        }
        self._empty = ResourceSpans(
            resource=resource_pb2.Resource(attributes=_encoded(told)),
            schema_url=resource.schema_url,
        )
        self._empty.scope_spans.add(scope=InstrumentationScope(name="inferd"))

    def make(self, over: Iterable[Over], offset_ns: int) -> ExportTraceServiceRequest:
        """The spans of requests and batches, in their order.

        `offset_ns` is what the wall clock is ahead of the monotonic one, in nanoseconds.
        """
        request = ExportTraceServiceRequest(resource_spans=[self._empty])
        spans: Spans = request.resource_spans[0].scope_spans[0].spans
        for each in over:
            try:
                if isinstance(each, Observation):
                    _Request(each, spans, offset_ns).add()
                else:
                    _add_batch(each, spans, offset_ns)
            except Exception as error:  # the last resort: the others want their spans, too
                _log.error("spans are lost", exc_info=error)
        return request


class _Request:
    """The spans of one request: what it went through, one after another, is the whole of it."""

    def __init__(self, seen: Observation, spans: Spans, offset_ns: int) -> None:
        trace = seen.trace
        assert trace is not None
        self._seen = seen
        self._spans = spans
        self._offset = offset_ns
        self._trace = trace
        self._trace_id = _trace_id(trace.trace_id)
        self._root = _span_id(trace.span_id)
        self._state = trace.parent.trace_state.to_header() if trace.parent is not None else ""

    def add(self) -> None:
        seen, parent = self._seen, self._trace.parent
        remote = parent is not None and parent.is_remote
        root = self._span(
            seen.method.removeprefix("/"),
            b"" if parent is None else _span_id(parent.span_id),
            self._epoch(seen.began),
            self._epoch(seen.ended),
            span_id=self._root,
            kind=Span.SPAN_KIND_SERVER,
            attributes=_encoded(_of_request(seen)),
            status=_status(seen.error),
            flags=_REMOTE if remote else _LOCAL,
        )
        for index, moment in enumerate(seen.answer_times):
            attributes = _encoded({"inferd.answer.index": index})
            root.events.add(
                name="answer", time_unix_nano=self._epoch(moment), attributes=attributes
            )
        self._step("admit", seen.began, seen.entered or seen.ended)
        if not seen.entered:
            return
        # Of a request that is over early a batch may still be under way.
        self._step("queue", seen.entered, seen.taken or seen.ended)
        last = 0.0
        for batch in seen.batches:
            self._part(batch)
            last = max(last, batch.concluded)
        if last and last <= seen.ended:
            self._step("answer", last, seen.ended)

    def _step(self, name: str, start: float, end: float) -> None:
        self._span(name, self._root, self._epoch(start), self._epoch(end))

    def _part(self, batch: ObservedBatch) -> None:
        """Its part in a batch, and below it what the worker did, when it did it."""
        whole, seen = batch.span, self._seen
        assert whole is not None
        first = batch.links[0] is self._trace
        part = _span_id(whole.parent_id) if first else _new_id()
        self._span(
            "batch",
            self._root,
            self._epoch(batch.taken),
            self._epoch(batch.concluded or seen.ended),
            span_id=part,
            attributes=_encoded(_of_batch(batch)),
            links=[_link(whole)],
            status=_status(batch.error),
        )
        if batch.began is None:
            return
        into, compute, out = (each + self._offset for each in batch.began)
        took = batch.durations
        self._span("copy in", part, into, into + took[0])
        if seen.answers:  # a generator: its steps, and what lies between them
            steps = _encoded({"inferd.compute.ns": took[1]})
            self._span("compute", part, compute, self._epoch(batch.concluded), attributes=steps)
        else:
            self._span("compute", part, compute, compute + took[1])
            self._span("copy out", part, out, out + took[2])

    def _span(
        self,
        name: str,
        parent: bytes,
        start_ns: int,
        end_ns: int,
        *,
        span_id: bytes | None = None,
        kind: Span.SpanKind.ValueType = Span.SPAN_KIND_INTERNAL,
        flags: int = _LOCAL,
        **more: object,
    ) -> Span:
        return self._spans.add(
            trace_id=self._trace_id,
            trace_state=self._state,
            span_id=span_id or _new_id(),
            parent_span_id=parent,
            name=name,
            kind=kind,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=max(start_ns, end_ns),
            flags=flags,
            **more,
        )

    def _epoch(self, moment: float) -> int:
        return int(moment * 1e9) + self._offset


def _add_batch(batch: ObservedBatch, spans: Spans, offset_ns: int) -> None:
    whole = batch.span
    assert whole is not None
    spans.add(
        trace_id=_trace_id(whole.trace_id),
        span_id=_span_id(whole.span_id),
        parent_span_id=_span_id(whole.parent_id),
        name="execute",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=int(batch.taken * 1e9) + offset_ns,
        end_time_unix_nano=int(batch.concluded * 1e9) + offset_ns,
        flags=_LOCAL,
        attributes=_encoded(_of_batch(batch)),
        links=[_link(each) for each in batch.links],
        status=_status(batch.error),
    )


def _of_request(seen: Observation) -> Attributes:
    attributes: dict[str, str | int] = {}
    error = seen.error
    if seen.method.startswith("/"):
        attributes[rpc.RPC_SYSTEM_NAME] = "grpc"
        attributes[rpc.RPC_METHOD] = seen.method.removeprefix("/")
        code = "OK" if error is None else code_of(error).name
        attributes[rpc.RPC_RESPONSE_STATUS_CODE] = code
    else:
        method, _, route = seen.method.partition(" ")
        attributes[http.HTTP_REQUEST_METHOD] = method
        attributes[http.HTTP_ROUTE] = route
        status = 200 if error is None else http_status_of(error)
        attributes[http.HTTP_RESPONSE_STATUS_CODE] = status
    if error is not None:
        attributes[errors.ERROR_TYPE] = error.reason
    named = (("model", seen.model), ("version", seen.version), ("request_id", seen.request_id))
    attributes |= {f"inferd.{key}": value[:_MOST_TEXT] for key, value in named if value}
    if seen.entered:
        attributes["inferd.rows"] = seen.rows
    if seen.batch_count > 1:
        attributes["inferd.batches"] = seen.batch_count
    if seen.answers:
        attributes["inferd.answers"] = seen.answers
    return attributes


def _of_batch(batch: ObservedBatch) -> Attributes:
    attributes: dict[str, str | int] = {
        "inferd.model": batch.model,
        "inferd.version": batch.version,
        "inferd.batch.id": batch.id,
        "inferd.batch.rows": batch.rows,
        "inferd.batch.requests": batch.requests,
        "inferd.instance": batch.instance,
        "inferd.device": batch.device,
    }
    if batch.error is not None:
        attributes[errors.ERROR_TYPE] = batch.error.reason
    return attributes


def _encoded(attributes: Attributes) -> list[KeyValue]:
    return [_pair(key, value) for key, value in attributes.items()]


@lru_cache(_KNOWN)
def _pair(key: str, value: str | int) -> KeyValue:
    """Not to be changed: most come again and again, and are copied into their spans."""
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    return KeyValue(key=key, value=AnyValue(int_value=value))


def _status(error: ServingError | None) -> Status | None:
    # Its reason alone: the text is the caller's, and may speak of the caller's values.
    if error is None:
        return None
    return Status(code=Status.STATUS_CODE_ERROR, message=error.reason)


def _link(span: Trace | BatchSpan) -> Span.Link:
    return Span.Link(
        trace_id=_trace_id(span.trace_id), span_id=_span_id(span.span_id), flags=_LOCAL
    )


_new = RandomIdGenerator().generate_span_id


def _new_id() -> bytes:
    return _span_id(_new())


def _span_id(span_id: int) -> bytes:
    return span_id.to_bytes(8, "big")


def _trace_id(trace_id: int) -> bytes:
    return trace_id.to_bytes(16, "big")
