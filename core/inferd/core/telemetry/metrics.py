"""Every metric of the server, declared once: what counts, what shows and what documents reads this.

Names follow Prometheus: seconds and bytes, counters end in `_total`. Every label has a closed set of
values, or one that grows with the models and processes of the server and with nothing that callers send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "untyped"]

SECONDS = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the buckets of durations; one more counts what takes longer."""

STAGE_SECONDS = (0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Some of them, for each stage: there are four of those, and a scrape pays for every bucket."""

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper bounds of the buckets of batch sizes; one more counts larger ones."""

STAGES = ("queue", "input", "compute", "output")
"""Where a request spends its time: waiting, copied to the device, executed, copied back."""

OUTCOMES = ("ok", "invalid", "overload", "expired", "cancelled", "unavailable", "failed")
"""How a request ends. `invalid` is the caller's mistake, `overload` a refusal for want of room, `expired` a
deadline that passed; `unavailable` and `failed` are the server's own."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `unit` is its base unit or empty, `labels` those of every series of it.

    `buckets` are the upper bounds of a histogram's.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()


_VERSION = ("model", "version")
_INSTANCE = ("model", "version", "instance")
_PROCESS = ("process", "model", "version", "instance")
_GPU = ("gpu", "uuid")

# --- requests ------------------------------------------------------------------------------------

REQUESTS = Metric(
    "inferd_requests_total",
    "counter",
    "Inference requests that have ended, by outcome; those that reached no model have an empty model",
    (*_VERSION, "outcome"),
)
REQUEST_ERRORS = Metric(
    "inferd_request_errors_total",
    "counter",
    "Inference requests that were answered with an error, by its reason as clients get it",
    (*_VERSION, "reason"),
)
REQUEST_DURATION = Metric(
    "inferd_request_duration_seconds",
    "histogram",
    "From a request's arrival to its answer, of those answered without an error",
    _VERSION,
    "seconds",
    SECONDS,
)
REQUEST_STAGE = Metric(
    "inferd_request_stage_seconds",
    "histogram",
    "What requests spent in each stage; each bears the whole time of the batch it was part of",
    (*_VERSION, "stage"),
    "seconds",
    STAGE_SECONDS,
)
BATCH_ROWS = Metric(
    "inferd_batch_rows", "histogram", "Rows of each executed batch", _VERSION, "", ROWS
)
ROWS_TOTAL = Metric("inferd_rows_total", "counter", "Rows executed", _VERSION)
BATCHES = Metric("inferd_batches_total", "counter", "Batches executed", _VERSION)
RECEIVED = Metric(
    "inferd_received_bytes_total", "counter", "Bytes of requests' tensors", _VERSION, "bytes"
)
SENT = Metric("inferd_sent_bytes_total", "counter", "Bytes of answers' tensors", _VERSION, "bytes")
QUEUED = Metric("inferd_queue_requests", "gauge", "Requests that wait to be executed", _VERSION)
QUEUE_AGE = Metric(
    "inferd_queue_age_seconds",
    "gauge",
    "How long the request that has waited longest has waited",
    _VERSION,
    "seconds",
)
IN_FLIGHT = Metric(
    "inferd_requests_in_flight", "gauge", "Requests that workers are executing", _VERSION
)
RPC_DURATION = Metric(
    "rpc_server_call_duration_seconds",
    "histogram",
    "Calls over gRPC, from their arrival to their end; OpenTelemetry's name and labels",
    ("rpc_system_name", "rpc_method", "rpc_response_status_code"),
    "seconds",
    SECONDS,
)

# --- models and processes ------------------------------------------------------------------------

MODEL_STATE = Metric(
    "inferd_model_state", "gauge", "1 for the state that a version is in", (*_VERSION, "state")
)
MODEL_LOAD = Metric(
    "inferd_model_load_seconds",
    "gauge",
    "What loading and warming up took the worker that loaded last",
    _VERSION,
    "seconds",
)
LOAD_FAILURES = Metric(
    "inferd_model_load_failures_total", "counter", "Loads of a version that failed", _VERSION
)
WORKER_UP = Metric(
    "inferd_worker_up",
    "gauge",
    "1 while requests reach a worker, 0 while they do not",
    (*_INSTANCE, "device"),
)
WORKER_RESTARTS = Metric(
    "inferd_worker_restarts_total",
    "counter",
    "Workers that were lost and started again, by cause",
    (*_VERSION, "cause"),
)
GATEWAY_UP = Metric(
    "inferd_gateway_up", "gauge", "1 while a gateway takes calls, 0 while it does not", ("gateway",)
)
GATEWAY_RESTARTS = Metric(
    "inferd_gateway_restarts_total",
    "counter",
    "Times that a gateway was lost and started again",
    ("gateway",),
)
LOOP_LAG = Metric(
    "inferd_event_loop_lag_seconds",
    "gauge",
    "How much later than asked a process's event loop came round",
    ("process",),
    "seconds",
)
CPU = Metric(
    "inferd_process_cpu_seconds_total",
    "counter",
    "CPU time of a process, in user and system mode",
    _PROCESS,
    "seconds",
)
RESIDENT = Metric(
    "inferd_process_resident_bytes", "gauge", "Memory of a process, shared parts included",
    _PROCESS, "bytes",
)  # fmt: skip
PROPORTIONAL = Metric(
    "inferd_process_proportional_bytes",
    "gauge",
    "Memory of a process, shared parts divided among those that share them (PSS)",
    _PROCESS,
    "bytes",
)
THREADS = Metric("inferd_process_threads", "gauge", "Threads of a process", _PROCESS)
OPEN_FILES = Metric("inferd_process_open_files", "gauge", "Open descriptors of a process", _PROCESS)

# --- GPUs ----------------------------------------------------------------------------------------

WORKER_GPU_MEMORY = Metric(
    "inferd_worker_gpu_memory_bytes",
    "gauge",
    "Memory of a GPU that a worker's process holds, as the driver counts it",
    (*_INSTANCE, "gpu"),
    "bytes",
)
TORCH_ALLOCATED = Metric(
    "inferd_torch_allocated_bytes", "gauge", "GPU memory of a worker's tensors",
    (*_INSTANCE, "device"), "bytes",
)  # fmt: skip
TORCH_RESERVED = Metric(
    "inferd_torch_reserved_bytes", "gauge", "GPU memory that torch keeps in a worker",
    (*_INSTANCE, "device"), "bytes",
)  # fmt: skip
TORCH_PEAK = Metric(
    "inferd_torch_peak_bytes", "gauge", "The most GPU memory that a worker's tensors took",
    (*_INSTANCE, "device"), "bytes",
)  # fmt: skip
GPU_LOST = Metric(
    "inferd_gpu_lost", "gauge", "1 while a GPU does not answer its driver any more", _GPU
)
GPU_UTILIZATION = Metric(
    "inferd_gpu_utilization_ratio", "gauge", "Share of time in which a GPU computed", _GPU
)
GPU_MEMORY_USED = Metric(
    "inferd_gpu_memory_used_bytes", "gauge", "Memory in use on a GPU", _GPU, "bytes"
)
GPU_MEMORY_TOTAL = Metric(
    "inferd_gpu_memory_total_bytes", "gauge", "Memory that a GPU has", _GPU, "bytes"
)
GPU_POWER = Metric("inferd_gpu_power_watts", "gauge", "Power that a GPU draws", _GPU, "watts")
GPU_ENERGY = Metric(
    "inferd_gpu_energy_joules_total", "counter", "Energy that a GPU has taken", _GPU, "joules"
)
GPU_TEMPERATURE = Metric(
    "inferd_gpu_temperature_celsius", "gauge", "Temperature of a GPU", _GPU, "celsius"
)
GPU_CLOCK = Metric(
    "inferd_gpu_clock_hertz", "gauge", "Clock of a GPU's processors (sm) or memory",
    (*_GPU, "clock"), "hertz",
)  # fmt: skip
GPU_THROTTLED = Metric(
    "inferd_gpu_throttled", "gauge", "1 while a GPU runs slower, for this reason",
    (*_GPU, "reason"),
)  # fmt: skip
GPU_XID = Metric(
    "inferd_gpu_xid_errors_total", "counter", "XID errors that the driver reported for a GPU",
    (*_GPU, "xid"),
)  # fmt: skip
GPU_ECC = Metric(
    "inferd_gpu_ecc_errors_total", "counter", "ECC errors of a GPU's memory", (*_GPU, "kind")
)

# --- the scrape itself ---------------------------------------------------------------------------

SCRAPE = Metric(
    "inferd_scrape_seconds", "gauge", "What gathering these metrics took", (), "seconds"
)
SCRAPE_UNANSWERED = Metric(
    "inferd_scrape_unanswered_total",
    "counter",
    "Questions for figures that a process did not answer in time; its last ones stand",
    ("process",),
)
BUILD = Metric(
    "inferd_build_info",
    "gauge",
    "1; the labels say what runs",
    ("inferd_version", "python_version"),
)

METRICS = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
"""All of them, in the order above."""
