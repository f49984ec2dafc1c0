"""Metrics of requests: every count arrives where it belongs, once."""

from __future__ import annotations

from inferd.core.link.messages import Sorted, VersionCounts
from inferd.core.telemetry import metrics
from inferd.server.supervisor.ops.requests import show_calls, show_loads, show_requests
from inferd.server.supervisor.ops.triton import show_as_triton
from support.observation import COUNTS, SEEN, at, one, seen, series

DIGITS = {"model": "digits", "version": "1"}


def test_requests_are_counted_by_outcome() -> None:
    """All outcomes are there from the beginning; errors have their reason beside it."""
    found = series(SEEN, show_requests)
    counted = {
        outcome: one(found, "inferd_requests_total", **DIGITS, outcome=outcome)
        for outcome in metrics.OUTCOMES
    }
    assert counted == {
        "ok": 3, "invalid": 0, "overload": 2, "expired": 1, "cancelled": 1, "unavailable": 0,
        "failed": 0,
    }  # fmt: skip
    assert one(found, "inferd_request_errors_total", **DIGITS, reason="QUEUE_FULL") == 2
    assert one(found, "inferd_request_errors_total", model="", reason="MODEL_NOT_FOUND") == 4
    assert one(found, "inferd_requests_total", model="", outcome="invalid") == 4


def test_durations_are_cumulative_histograms() -> None:
    """Counts up to each bound, and sums in seconds; stages in some of the bounds."""
    found = series(SEEN, show_requests)
    name = "inferd_request_duration_seconds"
    assert one(found, f"{name}_count", **DIGITS) == 3
    assert one(found, f"{name}_sum", **DIGITS) == 0.06
    upto = {
        bound: one(found, f"{name}_bucket", **DIGITS, le=bound)
        for bound in ("0.005", "0.01", "0.025", "0.05", "60.0", "+Inf")
    }
    assert upto == {"0.005": 0, "0.01": 1, "0.025": 2, "0.05": 3, "60.0": 3, "+Inf": 3}
    stage = {**DIGITS, "stage": "compute"}
    assert one(found, "inferd_request_stage_seconds_bucket", **stage, le="0.005") == 0
    assert one(found, "inferd_request_stage_seconds_bucket", **stage, le="0.025") == 3
    assert one(found, "inferd_request_stage_seconds_sum", **stage) == 0.045


def test_work_is_counted_in_rows_batches_and_bytes() -> None:
    """The histogram of batch sizes is made of the counts that statistics have anyway."""
    found = series(SEEN, show_requests)
    assert one(found, "inferd_batch_rows_bucket", **DIGITS, le="2.0") == 1
    assert one(found, "inferd_batch_rows_count", **DIGITS) == 2
    assert one(found, "inferd_batch_rows_sum", **DIGITS) == 6
    assert one(found, "inferd_rows_total", **DIGITS) == 6
    assert one(found, "inferd_batches_total", **DIGITS) == 2
    assert one(found, "inferd_received_bytes_total", **DIGITS) == 1536
    assert one(found, "inferd_sent_bytes_total", **DIGITS) == 288


def test_a_version_that_nobody_called_has_no_histograms() -> None:
    """They would be most of a scrape and say nothing."""
    found = series(
        seen(counts=(VersionCounts("idle", 1, buckets=Sorted(at(), at(), at(), at(), at())),)),
        show_requests,
    )
    assert not [name for name, _ in found if name.endswith("_bucket")]
    assert one(found, "inferd_requests_total", model="idle", outcome="ok") == 0


def test_reasons_that_are_made_up_share_a_series() -> None:
    """Own code may raise any reason: it must not make series."""
    made_up = VersionCounts("m", 1, errors={f"MADE_UP_{n}": 1 for n in range(100)})
    found = series(seen(counts=(made_up,)), show_requests)
    assert one(found, "inferd_request_errors_total", model="m") == 100
    assert one(found, "inferd_requests_total", model="m", outcome="failed") == 100


def test_what_is_held_is_shown_and_nothing_is_zero() -> None:
    """Of versions that hold nothing, too."""
    found = series(SEEN, show_loads)
    assert one(found, "inferd_queue_requests", **DIGITS) == 5
    assert one(found, "inferd_queue_age_seconds", **DIGITS) == 0.25
    assert one(found, "inferd_requests_in_flight", **DIGITS) == 2
    assert one(series(seen(loads=()), show_loads), "inferd_queue_requests", **DIGITS) == 0


def test_calls_have_the_names_of_opentelemetry() -> None:
    """Its semantic conventions for RPC, as its Prometheus exporter would write them."""
    found = series(SEEN, show_calls)
    labels = {
        "rpc_system_name": "grpc",
        "rpc_method": "inference.GRPCInferenceService/ModelInfer",
        "rpc_response_status_code": "OK",
    }
    assert one(found, "rpc_server_call_duration_seconds_count", **labels) == 1
    assert one(found, "rpc_server_call_duration_seconds_sum", **labels) == 0.01


def test_triton_s_names_say_the_same() -> None:
    """In its units, microseconds, and with its four reasons of failure."""
    found = series(SEEN, show_as_triton)
    assert one(found, "nv_inference_request_success", **DIGITS) == 3
    assert one(found, "nv_inference_request_failure", **DIGITS, reason="REJECTED") == 3
    assert one(found, "nv_inference_request_failure", **DIGITS, reason="CANCELED") == 1
    assert one(found, "nv_inference_count", **DIGITS) == COUNTS.inference_count
    assert one(found, "nv_inference_exec_count", **DIGITS) == 2
    assert one(found, "nv_inference_compute_infer_duration_us", **DIGITS) == 45_000
    assert one(found, "nv_inference_pending_request_count", **DIGITS) == 5
