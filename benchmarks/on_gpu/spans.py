"""Where traces go for one sample, and what they say of each batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from contenders.collector import collector
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from on_gpu.overlap import Interval, Steps

_STEPS = ("copy in", "compute", "copy out")


@dataclass(slots=True)
class Collected:
    """What has been exported to `endpoint`, unread: the server under load must not wait for it."""

    endpoint: str
    exports: list[ExportTraceServiceRequest]

    def spans(self) -> Iterator[Span]:
        """All of them."""
        for export in list(self.exports):
            for resource in export.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans


@contextmanager
def kept() -> Iterator[Collected]:
    """Keeps spans while its context lasts."""
    exports: list[ExportTraceServiceRequest] = []
    with collector(exports.append) as endpoint:
        yield Collected(endpoint, exports)


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
