"""A server as metrics and status see it, made up by a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from inferd.core.link.messages import (
    BatchCounts,
    MethodCounts,
    Sorted,
    Spent,
    VersionCounts,
    VersionLoad,
    VersionState,
)
from inferd.core.telemetry.metrics import SECONDS
from inferd.server.supervisor.ops.exposition import Exposition, Show
from inferd.server.supervisor.ops.observation import GatewayView, Observation, WorkerView
from inferd.server.supervisor.replicas.instance import Phase

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def at(*seconds: float) -> tuple[int, ...]:
    """Buckets in which each of these durations was counted."""
    counts = [0] * (len(SECONDS) + 1)
    for each in seconds:
        counts[next((i for i, bound in enumerate(SECONDS) if each <= bound), -1)] += 1
    return tuple(counts)


COUNTS = VersionCounts(
    "digits",
    1,
    inference_count=6,
    execution_count=2,
    success=Spent(3, 60_000_000),
    fail=Spent(3, 9),
    queue=Spent(3, 6_000_000),
    compute_input=Spent(3, 3_000_000),
    compute_infer=Spent(3, 45_000_000),
    compute_output=Spent(3, 6_000_000),
    batches={2: BatchCounts(compute_infer=Spent(1, 1)), 4: BatchCounts(compute_infer=Spent(1, 1))},
    cancelled=1,
    errors={"QUEUE_FULL": 2, "DEADLINE_EXCEEDED": 1},
    received=1536,
    sent=288,
    buckets=Sorted(
        at(0.01, 0.02, 0.03), at(0.002, 0.002, 0.002), at(0.001, 0.001, 0.001),
        at(0.015, 0.015, 0.015), at(0.002, 0.002, 0.002),
    ),
)  # fmt: skip

SEEN = Observation(
    counts=(COUNTS, VersionCounts("", 0, fail=Spent(4, 4), errors={"MODEL_NOT_FOUND": 4})),
    loads=(VersionLoad("digits", 1, 5, 0.25, 2),),
    calls=(MethodCounts("inference.GRPCInferenceService/ModelInfer", "OK", Spent(1, 10**7), at(0.01)),),
    states=(("digits", VersionState(1, "READY", "", 1)),),
    workers=(WorkerView("digits", 1, 0, "cpu", up=True, phase=Phase.ATTACHED, pid=42),),
    gateways=(GatewayView("gateway", up=True, pid=41, lag=0.003),),
    lag=0.001,
    seconds=0.002,
)  # fmt: skip


def seen(**changes: Any) -> Observation:
    """`SEEN` with some of it different."""
    return replace(SEEN, **changes)


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(shown: Observation, *subjects: Show) -> Series:
    """Every series that these subjects show, by name and labels, read back from the text."""
    text, _ = Exposition(subjects).render(shown, OPENMETRICS)
    return parse(text.decode())


def parse(text: str) -> Series:
    """Every series of a text in OpenMetrics; each is there once."""
    found: Series = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]  # it has no types
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def one(found: Series, name: str, **labels: str) -> float:
    """The only series of this name that has these labels, among others."""
    (value,) = [
        value
        for (each, its), value in found.items()
        if each == name and frozenset(labels.items()) <= its
    ]
    return value
