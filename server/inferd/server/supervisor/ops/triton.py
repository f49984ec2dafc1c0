"""The same figures under the names that Triton gives them, for dashboards that are there already.

Triton's counters do not end in `_total`, as counters must in OpenMetrics: they are shown untyped.
"""

from __future__ import annotations

from collections import Counter

from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry.metrics import Kind, Metric
from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.observation import Observation
from inferd.server.supervisor.ops.outcomes import outcome_of

_REASONS = {
    "overload": "REJECTED",
    "expired": "REJECTED",
    "cancelled": "CANCELED",
    "failed": "BACKEND",
}
"""Triton's four reasons of failure; all else is OTHER."""


def _metric(name: str, text: str, *labels: str, kind: Kind = "untyped") -> Metric:
    return Metric(name, kind, text, labels or ("model", "version"))


SUCCESS = _metric("nv_inference_request_success", "Requests answered without an error")
FAILURE = _metric(
    "nv_inference_request_failure", "Requests that failed", "model", "version", "reason"
)
ROWS = _metric("nv_inference_count", "Rows executed")
BATCHES = _metric("nv_inference_exec_count", "Batches executed")
PENDING = _metric("nv_inference_pending_request_count", "Requests that wait", kind="gauge")
DURATIONS = {
    "success": _metric("nv_inference_request_duration_us", "Time of answered requests"),
    "queue": _metric("nv_inference_queue_duration_us", "Time that requests waited"),
    "compute_input": _metric("nv_inference_compute_input_duration_us", "Time to copy inputs"),
    "compute_infer": _metric("nv_inference_compute_infer_duration_us", "Time of the model"),
    "compute_output": _metric("nv_inference_compute_output_duration_us", "Time to copy outputs"),
}
TRITON_METRICS = (SUCCESS, FAILURE, ROWS, BATCHES, PENDING, *DURATIONS.values())


def show_as_triton(seen: Observation, families: Families) -> None:
    """Every version that has counted anything."""
    for counts in seen.counts:
        if counts.model:
            _show(counts, families)
    waiting = {(each.model, each.version): each.queued for each in seen.loads}
    for model, state in seen.states:
        queued = waiting.get((model, state.version), 0)
        families.add(PENDING, (model, str(state.version)), queued)


def _show(counts: VersionCounts, families: Families) -> None:
    labels = counts.model, str(counts.version)
    failures = Counter(CANCELED=counts.cancelled)
    for reason, count in counts.errors.items():
        failures[_REASONS.get(outcome_of(reason), "OTHER")] += count
    families.add(SUCCESS, labels, counts.success.count)
    for reason, count in sorted(failures.items()):
        families.add(FAILURE, (*labels, reason), count)
    families.add(ROWS, labels, counts.inference_count)
    families.add(BATCHES, labels, counts.execution_count)
    for name, metric in DURATIONS.items():
        families.add(metric, labels, getattr(counts, name).ns // 1000)
