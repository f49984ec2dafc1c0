"""The spans of what was noted, made after the fact in the format that they are exported in (OTLP).

Neither as the SDK's spans nor as protobuf's messages, which took twenty and three times as long and more, on a
thread that takes the interpreter from requests: they are put together from pieces (`otlp_wire`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import (
    ResourceSpans,
    ScopeSpans,
    Span,
    SpanFlags,
    Status,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv._incubating.attributes import rpc_attributes as rpc
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.trace import TraceFlags

from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import Observation, new_id
from inferd.server.gateway.tracing import otlp_wire
from inferd.wire.status import code_of, http_status_of

_LOCAL = TraceFlags.SAMPLED | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
"""Flags of a sampled span whose parent, or of a link whose end, is ours or somebody else's."""

_MOST_TEXT = 128
"""Characters of what callers have written: names and ids."""

_KNOWN = 1024
"""Pieces of a kind that are remembered: most come again and again."""

_ADMIT, _QUEUE, _BATCH, _COPY_IN, _COMPUTE, _COPY_OUT, _ANSWER, _EXECUTE = (
    otlp_wire.named(name, Span.SPAN_KIND_INTERNAL, _LOCAL)
    for name in (
        "admit",
        "queue",
        "batch",
        "copy in",
        "compute",
        "copy out",
        "answer",
        "execute",
    )
)
_STEPS = (_ADMIT, _QUEUE, _ANSWER)
_WORKED = (_COPY_IN, _COMPUTE, _COPY_OUT)

_log = get_logger(__name__)

Over = Observation | ObservedBatch


class SpanMaker:
    """Makes spans with the ids and times that were noted."""

    def __init__(self, resource: Resource) -> None:
        """`resource` is who makes them."""
        told = [
            KeyValue(key=key, value=_value(each))
            for key, each in resource.attributes.items()
            if isinstance(each, str | int)
        ]
        self._resource = ResourceSpans(
            resource=resource_pb2.Resource(attributes=told), schema_url=resource.schema_url
        ).SerializeToString()
        self._scope = ScopeSpans(scope=InstrumentationScope(name="inferd")).SerializeToString()

    def make(self, over: Iterable[Over], offset_ns: int) -> bytes:
        """The spans of requests and batches, in their order: a serialised ExportTraceServiceRequest.

        `offset_ns` is what the wall clock is ahead of the monotonic one, in nanoseconds.
        """
        spans: list[bytes] = []
        for each in over:
            try:
                if isinstance(each, Observation):
                    spans.append(_request(each, offset_ns))
                else:
                    spans.append(_batch(each, offset_ns))
            except Exception as error:  # the last resort: the others want their spans, too
                _log.error("spans are lost", exc_info=error)
        return otlp_wire.request(self._resource, self._scope, spans)


def _request(seen: Observation, offset_ns: int) -> bytes:
    """The spans of one request: what it went through, one after another, is the whole of it."""
    trace = seen.trace
    assert trace is not None
    above = where = otlp_wire.trace(trace.trace_id)
    flags = _LOCAL
    if (parent := trace.parent) is not None:
        where += _state(parent.trace_state.to_header())
        above = where + otlp_wire.parent(parent.span_id)
        flags = _REMOTE if parent.is_remote else _LOCAL
    # Where one part ends the next begins.
    began, ended = int(seen.began * 1e9) + offset_ns, int(seen.ended * 1e9) + offset_ns
    told = _of_request(seen, flags)
    for index, moment in enumerate(seen.answer_times):
        time = int(moment * 1e9) + offset_ns
        told += otlp_wire.event("answer", time, "inferd.answer.index", index)
    server = otlp_wire.span(above, trace.span_id, began, ended, told)
    below = where + otlp_wire.parent(trace.span_id)
    if not seen.entered:
        return server + otlp_wire.step(below, began, ended, _ADMIT)
    entered = int(seen.entered * 1e9) + offset_ns
    # Of a request that is over early a batch may still be under way.
    taken = int(seen.taken * 1e9) + offset_ns if seen.taken else ended
    last = 0.0
    parts = []
    for batch in seen.batches:
        parts.append(_part(batch, seen, where, below, offset_ns))
        if batch.concluded > last:
            last = batch.concluded
    if last and last <= seen.ended:
        answer = int(last * 1e9) + offset_ns
        times = (began, entered, entered, taken, answer, ended)
        steps = otlp_wire.three_steps(_STEPS, below, times)
    else:
        steps = otlp_wire.step(below, began, entered, _ADMIT)
        steps += otlp_wire.step(below, entered, taken, _QUEUE)
    return b"".join((server, steps, *parts))


def _part(
    batch: ObservedBatch, seen: Observation, where: bytes, place: bytes, offset_ns: int
) -> bytes:
    """A request's part in a batch, and below it what the worker did, when it did it."""
    first = batch.links[0]
    part = batch.part_id if first is seen.trace else new_id(64)
    taken = int(batch.taken * 1e9) + offset_ns
    concluded = int((batch.concluded or seen.ended) * 1e9) + offset_ns
    told = b"".join(
        (_BATCH, _of_batch(batch), otlp_wire.link(first.trace_id, batch.span_id, _LOCAL))
    )
    span = otlp_wire.span(place, part, taken, concluded, told)
    if batch.began is None:
        return span
    below = where + otlp_wire.parent(part)
    into, compute, out = batch.began
    into, compute, out = into + offset_ns, compute + offset_ns, out + offset_ns
    took_in, took, took_out = batch.durations
    if seen.answers:  # a generator: its steps, and what lies between them
        computed = _COMPUTE + otlp_wire.attribute("inferd.compute.ns", took)
        copied = otlp_wire.step(below, into, into + took_in, _COPY_IN)
        return span + copied + otlp_wire.step(below, compute, concluded, computed)
    times = (into, into + took_in, compute, compute + took, out, out + took_out)
    return span + otlp_wire.three_steps(_WORKED, below, times)


def _batch(batch: ObservedBatch, offset_ns: int) -> bytes:
    links = [otlp_wire.link(each.trace_id, each.span_id, _LOCAL) for each in batch.links]
    return otlp_wire.span(
        otlp_wire.trace(batch.links[0].trace_id) + otlp_wire.parent(batch.part_id),
        batch.span_id,
        int(batch.taken * 1e9) + offset_ns,
        int(batch.concluded * 1e9) + offset_ns,
        b"".join((_EXECUTE, _of_batch(batch), *links)),
    )


def _of_request(seen: Observation, flags: int) -> bytes:
    """All that its span has but place, id and times."""
    error = seen.error
    reason = None if error is None else error.reason
    status: str | int
    if seen.method.startswith("/"):
        status = "OK" if error is None else code_of(error).name
    else:
        status = 200 if error is None else http_status_of(error)
    told = _of_way(seen.method, flags, status, reason)
    told += _of_model(seen.model[:_MOST_TEXT], seen.version[:_MOST_TEXT])
    if seen.request_id:  # no two have the same, or should
        told += otlp_wire.attribute("inferd.request_id", seen.request_id[:_MOST_TEXT])
    if seen.entered:
        told += _number("inferd.rows", seen.rows)
    if seen.batch_count > 1:
        told += _number("inferd.batches", seen.batch_count)
    if seen.answers:
        told += _number("inferd.answers", seen.answers)
    return told


_number = lru_cache(_KNOWN)(otlp_wire.attribute)


@lru_cache(_KNOWN)
def _of_way(method: str, flags: int, status: str | int, reason: str | None) -> bytes:
    """What requests have in common that came and ended in the same way."""
    told = otlp_wire.named(method.removeprefix("/"), Span.SPAN_KIND_SERVER, flags)
    attributes: dict[str, str | int] = {}
    if method.startswith("/"):
        attributes[rpc.RPC_SYSTEM_NAME] = "grpc"
        attributes[rpc.RPC_METHOD] = method.removeprefix("/")
        attributes[rpc.RPC_RESPONSE_STATUS_CODE] = status
    else:
        attributes[http.HTTP_REQUEST_METHOD], _, attributes[http.HTTP_ROUTE] = method.partition(" ")
        attributes[http.HTTP_RESPONSE_STATUS_CODE] = status
    told += _attributes(attributes)
    return told if reason is None else told + _of_failure(reason)


def _of_batch(batch: ObservedBatch) -> bytes:
    """Attributes and status: of its own span, and of its requests' parts in it."""
    told = (
        _of_model(batch.model, batch.version)
        + otlp_wire.attribute("inferd.batch.id", batch.id)
        + _of_size(batch.rows, batch.requests)
        + _of_place(batch.instance, batch.device)
    )
    if batch.error is not None:
        told += _of_failure(batch.error.reason)
    return told


@lru_cache(_KNOWN)
def _of_model(model: str, version: str) -> bytes:
    named = {"inferd.model": model, "inferd.version": version}
    return _attributes({key: value for key, value in named.items() if value})


@lru_cache(_KNOWN)
def _of_size(rows: int, requests: int) -> bytes:
    return _attributes({"inferd.batch.rows": rows, "inferd.batch.requests": requests})


@lru_cache(_KNOWN)
def _of_place(instance: int, device: str) -> bytes:
    return _attributes({"inferd.instance": instance, "inferd.device": device})


@lru_cache(_KNOWN)
def _of_failure(reason: str) -> bytes:
    # The reason alone: an error's text is the caller's, and may speak of the caller's values.
    failed = otlp_wire.status(Status.STATUS_CODE_ERROR, reason)
    return _attributes({errors.ERROR_TYPE: reason}) + failed


def _attributes(told: Mapping[str, str | int]) -> bytes:
    return b"".join(otlp_wire.attribute(key, value) for key, value in told.items())


@lru_cache(_KNOWN)
def _state(header: str) -> bytes:
    return otlp_wire.trace_state(header) if header else b""


def _value(value: str | int) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(int_value=int(value))  # protobuf takes no boolean for a number any more
