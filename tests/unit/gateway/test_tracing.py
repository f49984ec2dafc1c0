"""What is noted of a request, and the thread that exports it."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any, NoReturn

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from structlog.testing import capture_logs

from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.observation.batch import observe
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.server.gateway.scheduling.queue import Batch
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.tracing.exporters import Exporter
from inferd.server.gateway.tracing.tracer import Tracer
from inferd.server.gateway.tracing.writer import AT_ONCE, SpanWriter
from inferd.wire.errors import QueueFull
from inferd.wire.signature import Signature
from support.requests import Recorded, lane

INFO = DeploymentInfo(1, "m", 3, "test", Signature((), (), 0), False, 1, 0.0, ())  # noqa: FBT003  # it takes no parameters


class Kept:
    """Keeps what it is given, or fails the first time."""

    def __init__(self, *, fails: bool = False) -> None:
        self.names: list[str] = []
        self._fails = fails

    def export(self, spans: bytes) -> None:
        """Keep them."""
        if self._fails:
            self._fails = False
            raise OSError("no such luck")
        (resource,) = ExportTraceServiceRequest.FromString(spans).resource_spans
        (scope,) = resource.scope_spans
        self.names += [each.name for each in scope.spans]

    def shutdown(self) -> None:
        """Nothing is open."""


def writer_to(exporter: Exporter, **settings: int) -> SpanWriter:
    """A writer that does not wait for company."""
    return SpanWriter(exporter, Resource({}), period=0.0, **settings)


def observation(tracer: Tracer) -> Observation:
    """One of a request that is traced."""
    return Observation("/s/Infer", 1.0, tracer.decide(()))


def test_the_last_answered_request_is_the_exemplar() -> None:
    """Its trace id and how long it took; one that fails leaves the last one there."""
    over: list[object] = []
    tracer = Tracer(1.0, over.append)
    statistics = Statistics()
    on = lane()
    seen = observation(tracer)
    seen.enter(Recorded(on), INFO, statistics)
    assert list(on.observed.values()) == [seen]
    seen.end()
    assert not on.observed
    assert seen.trace is not None
    exemplar = statistics.exemplar
    assert exemplar is not None
    trace_id, seconds, epoch = exemplar
    assert trace_id == seen.trace.trace_id
    assert seconds == seen.ended - 1.0
    assert epoch > 1e9
    failed = observation(tracer)
    failed.enter(Recorded(on), INFO, statistics)
    failed.end(QueueFull("full"))
    assert statistics.exemplar == exemplar
    assert over == [seen, failed]


class OnlyAsked(dict[Any, Any]):
    """Answers for single keys alone."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("looked through")

    items = keys = values = __iter__


def test_a_batch_asks_for_its_own_requests_alone() -> None:
    """However many others are observed; its links are in its order."""
    on, tracer = lane(), Tracer(1.0, lambda over: None)
    pieces = [Recorded(on) for _ in range(3)]
    found = {each: observation(tracer) for each in (pieces[2], Recorded(on), pieces[0])}
    on.observed = OnlyAsked(found)
    batch = observe(Batch(on, [*pieces], 3, 1.0), 0, "cpu", "1-1")
    assert batch is not None
    assert batch.links == [found[pieces[0]].trace, found[pieces[2]].trace]
    assert batch.requests == 3
    assert observe(Batch(on, [pieces[1]], 1, 1.0), 0, "cpu", "1-2") is None


def test_a_request_is_over_once() -> None:
    """Whoever comes second, the caller that leaves or the answer, changes nothing."""
    over: list[object] = []
    seen = observation(Tracer(1.0, over.append))
    seen.end()
    seen.end(QueueFull("full"))
    assert over == [seen]
    assert seen.error is None


def test_the_share_is_drawn_for_requests_without_a_context() -> None:
    """The next one, or the one after it; those with a context are not counted."""
    draws = iter([0.0, 0.6, 0.0, 0.0])
    tracer = Tracer(0.5, lambda over: None, chance=lambda: next(draws))
    unsampled = (("traceparent", f"00-{'1' * 32}-{'1' * 16}-00"),)
    asked = [(), unsampled, (), (), unsampled, ()]
    assert [tracer.decide(each) is not None for each in asked] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "logged", "of_logged", "of_others"),
    [
        (0.25, 0.25, 1.0, 0.0),
        (0.4, 0.2, 1.0, 0.25),  # 0.2 + 0.8 / 4
        (0.1, 0.2, 0.5, 0.0),
        (0.3, 0.0, None, 0.3),
        (0.3, 1.0, 0.3, None),
        (1.0, 0.5, 1.0, 1.0),
        (0.0, 0.5, 0.0, 0.0),
    ],
)
def test_those_with_a_line_come_first(
    share: float, logged: float, of_logged: float | None, of_others: float | None
) -> None:
    """The share is that of all requests; what it does not need for those with a line is for others."""
    chance = random.Random(1).random
    tracer = Tracer(share, lambda over: None, logged=logged, chance=chance)
    for line, expected in ((True, of_logged), (False, of_others)):
        if expected is not None:  # there are such requests
            asked = [tracer.decide((), has_line=line) is not None for _ in range(20_000)]
            assert sum(asked) / len(asked) == pytest.approx(expected, abs=0.01)


def test_what_is_too_much_is_dropped_and_told_once() -> None:
    """The others are exported; whoever puts never waits."""
    kept = Kept()
    writer = writer_to(kept, most_waiting=AT_ONCE + 6)
    tracer = Tracer(1.0, writer.put)
    for _ in range(AT_ONCE + 8):
        observation(tracer).end()
    assert writer.dropped == 2
    with capture_logs() as told:
        writer.start()
        writer.close()
    assert kept.names == ["s/Infer", "admit"] * (AT_ONCE + 6)  # in two exports
    (line,) = told
    assert line["event"].startswith("traces are dropped")
    assert line["dropped"] == 2


def test_an_export_that_fails_is_not_the_last() -> None:
    """What comes after it is exported."""
    kept = Kept(fails=True)
    writer = writer_to(kept)
    tracer = Tracer(1.0, writer.put)
    for _ in range(AT_ONCE + 1):  # one more than go out together
        observation(tracer).end()
    with capture_logs() as told:
        writer.start()
        writer.close()
    assert kept.names == ["s/Infer", "admit"]
    assert len(told) == 1


def test_where_tracing_is_off_opentelemetry_is_not_there() -> None:
    """Neither gateway, with both its doors, nor client imports it."""
    code = (
        "import sys, inferd.client, inferd.server.gateway.app, inferd.server.gateway.http.door\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
