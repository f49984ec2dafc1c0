"""The spans of what was noted, made by OpenTelemetry's SDK after the fact."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.semconv._incubating.attributes import rpc_attributes as rpc
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import BatchSpan, Observation, Trace
from inferd.wire.errors import ServingError
from inferd.wire.status import code_of, http_status_of

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_MOST_TEXT = 128
"""Characters of what callers have written: names and ids."""

Attributes = dict[str, str | int]


class SpanMaker:
    """Makes spans with the ids and times that were noted. For one thread."""

    def __init__(self, resource: Resource) -> None:
        """`resource` is who makes them."""
        self._ids = _NotedIds()
        self._ended = _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("inferd")

    def make(self, over: Observation | ObservedBatch, offset_ns: int) -> list[ReadableSpan]:
        """The spans of a request or a batch.

        `offset_ns` is what the wall clock is ahead of the monotonic one, in nanoseconds.
        """
        self._offset = offset_ns
        if isinstance(over, Observation):
            self._request(over)
        else:
            self._batch(over)
        return self._ended.take()

    def _request(self, seen: Observation) -> None:
        trace = seen.trace
        assert trace is not None
        context = Context()
        if trace.parent is not None:
            context = set_span_in_context(NonRecordingSpan(trace.parent), context)
        self._ids.trace_id, self._ids.span_id = trace.trace_id, trace.span_id
        root = self._tracer.start_span(
            seen.method.removeprefix("/"),
            context,
            SpanKind.SERVER,
            _of_request(seen),
            start_time=self._epoch(seen.began),
        )
        for index, moment in enumerate(seen.answer_times):
            root.add_event("answer", {"inferd.answer.index": index}, self._epoch(moment))
        below = set_span_in_context(root, Context())
        self._steps(seen, below)
        if seen.error is not None:
            root.set_status(_status(seen.error))
        root.end(self._epoch(seen.ended))

    def _steps(self, seen: Observation, below: Context) -> None:
        """What it went through, one after another: together they are the whole request."""
        self._step("admit", below, seen.began, seen.entered or seen.ended)
        if not seen.entered:
            return
        # Of a request that is over early a batch may still be under way.
        self._step("queue", below, seen.entered, seen.taken or seen.ended)
        last = 0.0
        for batch in seen.batches:
            self._part(seen, batch, below)
            last = max(last, batch.concluded)
        if last and last <= seen.ended:
            self._step("answer", below, last, seen.ended)

    def _step(self, name: str, below: Context, start: float, end: float) -> None:
        span = self._tracer.start_span(name, below, start_time=self._epoch(start))
        span.end(self._epoch(max(start, end)))

    def _part(self, seen: Observation, batch: ObservedBatch, below: Context) -> None:
        """A request's part in a batch, and below it what the worker did, when it did it."""
        whole = batch.span
        assert whole is not None
        if batch.links[0] is seen.trace:
            self._ids.span_id = whole.parent_id
        span = self._tracer.start_span(
            "batch",
            below,
            attributes=_of_batch(batch),
            links=[Link(_context_of(whole))],
            start_time=self._epoch(batch.taken),
        )
        if batch.began is not None:
            inside = set_span_in_context(span, Context())
            into, compute, out = batch.began
            took = batch.durations
            self._worked("copy in", inside, into, into + took[0])
            if seen.answers:  # a generator: its steps, and what lies between them
                end = int(batch.concluded * 1e9)
                self._worked("compute", inside, compute, end, {"inferd.compute.ns": took[1]})
            else:
                self._worked("compute", inside, compute, compute + took[1])
                self._worked("copy out", inside, out, out + took[2])
        if batch.error is not None:
            span.set_status(_status(batch.error))
        span.end(self._epoch(batch.concluded or seen.ended))

    def _worked(
        self,
        name: str,
        below: Context,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, int] | None = None,
    ) -> None:
        span = self._tracer.start_span(
            name, below, attributes=attributes, start_time=start_ns + self._offset
        )
        span.end(max(start_ns, end_ns) + self._offset)

    def _batch(self, batch: ObservedBatch) -> None:
        whole = batch.span
        assert whole is not None
        parent = SpanContext(whole.trace_id, whole.parent_id, is_remote=False, trace_flags=_SAMPLED)
        self._ids.span_id = whole.span_id
        span = self._tracer.start_span(
            "execute",
            set_span_in_context(NonRecordingSpan(parent), Context()),
            attributes=_of_batch(batch),
            links=[Link(_context_of(each)) for each in batch.links],
            start_time=self._epoch(batch.taken),
        )
        if batch.error is not None:
            span.set_status(_status(batch.error))
        span.end(self._epoch(batch.concluded))

    def _epoch(self, moment: float) -> int:
        """Nanoseconds since the epoch, of a moment in monotonic seconds."""
        return int(moment * 1e9) + self._offset


class _NotedIds(RandomIdGenerator):
    """Gives out the ids that are set, each once; else new ones."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        noted, self.trace_id = self.trace_id, 0
        return noted or super().generate_trace_id()

    def generate_span_id(self) -> int:
        noted, self.span_id = self.span_id, 0
        return noted or super().generate_span_id()


class _Ended(SpanProcessor):
    """Keeps the spans that have ended until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _of_request(seen: Observation) -> Attributes:
    attributes: Attributes = {}
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
    attributes: Attributes = {
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


def _context_of(span: Trace | BatchSpan) -> SpanContext:
    return SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=_SAMPLED)


def _status(error: ServingError) -> Status:
    # Its reason alone: the text is the caller's, and may speak of the caller's values.
    return Status(StatusCode.ERROR, error.reason)
