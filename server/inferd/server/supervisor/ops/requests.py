"""Metrics of requests: what gateways have counted, and what they hold."""

from __future__ import annotations

from collections import Counter

from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry import metrics
from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.observation import Observation
from inferd.server.supervisor.ops.outcomes import known, outcomes_of


def show_requests(seen: Observation, families: Families) -> None:
    """Every version that has counted anything; those that nobody has called have no histograms."""
    for counts in seen.counts:
        labels = counts.model, str(counts.version or "")
        _show_outcomes(counts, labels, families)
        if counts.model:
            _show_work(counts, labels, families)


def show_loads(seen: Observation, families: Families) -> None:
    """What waits and what is executed, zeros of idle versions included."""
    loads = {(each.model, each.version): each for each in seen.loads}
    for model, state in seen.states:
        labels = model, str(state.version)
        load = loads.get((model, state.version))
        families.add(metrics.QUEUED, labels, load.queued if load else 0)
        families.add(metrics.QUEUE_AGE, labels, load.age if load else 0.0)
        families.add(metrics.IN_FLIGHT, labels, load.in_flight if load else 0)


def show_calls(seen: Observation, families: Families) -> None:
    """Calls over gRPC, by method and status code."""
    for call in seen.calls:
        labels = "grpc", call.method, call.code
        families.add_buckets(metrics.RPC_DURATION, labels, call.buckets, call.spent.ns / 1e9)


def _show_outcomes(counts: VersionCounts, labels: tuple[str, str], families: Families) -> None:
    outcomes = outcomes_of(counts)
    reasons: Counter[str] = Counter()
    for reason, count in counts.errors.items():
        reasons[known(reason)] += count
    for outcome in metrics.OUTCOMES:
        families.add(metrics.REQUESTS, (*labels, outcome), outcomes[outcome])
    for reason, count in sorted(reasons.items()):
        families.add(metrics.REQUEST_ERRORS, (*labels, reason), count)


def _show_work(counts: VersionCounts, labels: tuple[str, str], families: Families) -> None:
    buckets = counts.buckets
    stages = (
        (buckets.queue, counts.queue),
        (buckets.compute_input, counts.compute_input),
        (buckets.compute_infer, counts.compute_infer),
        (buckets.compute_output, counts.compute_output),
    )
    if counts.success.count:
        seconds, last = counts.success.ns / 1e9, counts.exemplar
        families.add_buckets(metrics.REQUEST_DURATION, labels, buckets.total, seconds, seen=last)
        for stage, (sorted_, spent) in zip(metrics.STAGES, stages, strict=True):
            series, seconds = (*labels, stage), spent.ns / 1e9
            families.add_buckets(
                metrics.REQUEST_STAGE, series, sorted_, seconds, bounds=metrics.SECONDS
            )
    _show_batches(counts, labels, families)
    families.add(metrics.ROWS_TOTAL, labels, counts.inference_count)
    families.add(metrics.BATCHES, labels, counts.execution_count)
    families.add(metrics.RECEIVED, labels, counts.received)
    families.add(metrics.SENT, labels, counts.sent)


def _show_batches(counts: VersionCounts, labels: tuple[str, str], families: Families) -> None:
    sizes = [0] * (len(metrics.ROWS) + 1)
    for rows, batch in counts.batches.items():
        at = next((i for i, bound in enumerate(metrics.ROWS) if rows <= bound), -1)
        sizes[at] += batch.compute_infer.count
    if any(sizes):
        families.add_buckets(metrics.BATCH_ROWS, labels, sizes, counts.inference_count)
