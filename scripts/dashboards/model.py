"""One model: where its requests spend their time and what its workers use."""

from __future__ import annotations

from dashboards.page import MODEL, SERVER, VERSION, Page, Panel, Query, Row

_R = 'model=~"$model", version=~"$version"'  # what was recorded over all servers
_M = f'{_R}, server=~"$server"'
_RATE = "[$__rate_interval]"


def _quantile(share: float, by: str, metric: str) -> str:
    return f"histogram_quantile({share:g}, sum by (le{by}) (rate({metric}_bucket{{{_M}}}{_RATE})))"


def _mean(by: str, metric: str) -> str:
    total, count = (
        f"sum by ({by}) (rate({metric}_{each}{{{_M}}}{_RATE}))" for each in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


_DURATION, _STAGE, _ROWS = (
    "inferd_request_duration_seconds",
    "inferd_request_stage_seconds",
    "inferd_batch_rows",
)

_REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Requests per second, by outcome",
            "reqps",
            "invalid and cancelled are the caller's doing; overload, expired, unavailable and failed the "
            "server's.",
            (
                Query(
                    f"sum by (outcome) (rate(inferd_requests_total{{{_M}}}{_RATE}))", "{{outcome}}"
                ),
            ),
            view="stack",
        ),
        Panel(
            "Errors per second, by reason",
            "reqps",
            "The reason as clients get it in the error.",
            (
                Query(
                    f"sum by (reason) (rate(inferd_request_errors_total{{{_M}}}{_RATE}))",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Availability",
            "percentunit",
            "Share of requests that did not fail by the server's fault, over an hour.",
            (
                Query(
                    f"model_version:inferd_availability:ratio_rate1h{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
            top=1,
        ),
        Panel(
            "Time to answer: p50, p95, p99",
            "s",
            "From a request's arrival to its answer, of those answered without an error.",
            tuple(
                Query(_quantile(share, "", _DURATION), f"p{share * 100:g}")
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        Panel(
            "Mean time in each stage",
            "s",
            "queue: waiting; input and output: copies to and from the device; compute: the model. Each "
            "request bears the whole time of its batch.",
            (Query(_mean("stage", _STAGE), "{{stage}}"),),
            view="stack",
        ),
        Panel(
            "p99 of each stage",
            "s",
            "What dominates here is where slow requests lose their time.",
            (Query(_quantile(0.99, ", stage", _STAGE), "{{stage}}"),),
        ),
        Panel(
            "Speed",
            "reqps",
            "1 / mean time of a request: what one caller who waits for each answer gets through.",
            (Query(f"model_version:inferd_speed:mean5m{{{_R}}}", "{{model}} {{version}}"),),
        ),
        Panel(
            "Tensors in and out",
            "Bps",
            "Bytes of the tensors of requests and answers.",
            (
                Query(f"sum(rate(inferd_received_bytes_total{{{_M}}}{_RATE}))", "in"),
                Query(f"sum(rate(inferd_sent_bytes_total{{{_M}}}{_RATE}))", "out"),
            ),
        ),
        Panel(
            "Requests waiting and in flight",
            "short",
            "Waiting in queues, and with workers that execute them.",
            (
                Query(f"sum(inferd_queue_requests{{{_M}}})", "waiting"),
                Query(f"sum(inferd_requests_in_flight{{{_M}}})", "in flight"),
            ),
        ),
    ),
)

_BATCHES = Row(
    "Batches",
    (
        Panel(
            "Rows per batch",
            "short",
            "The mean, and the size that nine of ten batches do not exceed.",
            (
                Query(_mean("model, version", _ROWS), "mean {{model}} {{version}}"),
                Query(_quantile(0.9, ", model, version", _ROWS), "p90 {{model}} {{version}}"),
            ),
        ),
        Panel(
            "Batches and rows per second",
            "ops",
            "Rows grow with load; batches stop growing when the model is the limit.",
            (
                Query(f"sum(rate(inferd_batches_total{{{_M}}}{_RATE}))", "batches"),
                Query(f"sum(rate(inferd_rows_total{{{_M}}}{_RATE}))", "rows"),
            ),
        ),
        Panel(
            "Age of the oldest request that waits",
            "s",
            "Grows steadily when nothing is executed at all.",
            (
                Query(
                    f"max by (model, version) (inferd_queue_age_seconds{{{_M}}})",
                    "{{model}} {{version}}",
                ),
            ),
        ),
    ),
)

_INSTANCES = Row(
    "Instances and what they use",
    (
        Panel(
            "Instances that requests reach",
            "short",
            "Below the number of instances while one is started again.",
            (
                Query(
                    f"sum by (server, model, version) (inferd_worker_up{{{_M}}})",
                    "{{model}} {{version}} {{server}}",
                ),
            ),
        ),
        Panel(
            "Workers lost, by cause",
            "short",
            "Within the time of one point; signal: killed, timeout: took too long to load.",
            (
                Query(
                    f"sum by (cause) (increase(inferd_worker_restarts_total{{{_M}}}{_RATE}))",
                    "{{cause}}",
                ),
            ),
        ),
        Panel(
            "Time to load",
            "s",
            "Loading and warming up, of the worker that loaded last.",
            (
                Query(
                    f"max by (model, version) (inferd_model_load_seconds{{{_M}}})",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Loads that failed",
            "short",
            "Counted since the server started.",
            (
                Query(
                    f"sum by (model, version) (inferd_model_load_failures_total{{{_M}}})",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "CPU cores in use",
            "short",
            "CPU seconds per second of the workers.",
            (
                Query(
                    f"model_version:inferd_process_cpu_seconds:rate5m{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "CPU time per request",
            "s",
            "Of the workers; rises with the share of time in which they have nothing to do.",
            (
                Query(
                    f"model_version:inferd_process_cpu_seconds:per_request_rate5m{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Memory",
            "bytes",
            "Of the workers; what they share is divided among them.",
            (
                Query(
                    f"model_version:inferd_process_memory_bytes:sum{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "GPU memory",
            "bytes",
            "What the workers hold, as the driver counts it.",
            (
                Query(
                    f"model_version:inferd_worker_gpu_memory_bytes:sum{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Power of the GPUs that it alone uses",
            "watt",
            "What several versions draw from a GPU they share cannot be told apart and is not shown.",
            (
                Query(
                    f"model_version:inferd_gpu_energy_joules:rate5m{{{_R}}}",
                    "{{model}} {{version}}",
                ),
            ),
        ),
    ),
)

ONE_MODEL = Page(
    "model",
    "inferd: one model",
    "One model: where its requests spend their time, how it is batched and what its workers use.",
    (SERVER, MODEL, VERSION),
    (_REQUESTS, _BATCHES, _INSTANCES),
)
