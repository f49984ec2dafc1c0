"""All servers and models at one look."""

from __future__ import annotations

from dashboards.page import SERVER, Page, Panel, Query, Row

_S = 'server=~"$server"'
_JOB = f'job="inferd", {_S}'

_NOW = Row(
    "Now",
    (
        Panel(
            "Servers that answer",
            "short",
            "Servers whose metrics Prometheus got at its last look.",
            (Query(f"sum(up{{{_JOB}}})", "servers"),),
            view="stat",
            width=4,
        ),
        Panel(
            "Versions ready",
            "short",
            "Model versions in state READY, counted once per server.",
            (Query(f'sum(inferd_model_state{{state="READY", {_S}}})', "versions"),),
            view="stat",
            width=4,
        ),
        Panel(
            "Requests per second",
            "reqps",
            "Inference requests that ended, however they did, over all models of all servers.",
            (Query("sum(model_version:inferd_requests:rate5m)", "requests"),),
            view="stat",
            width=4,
        ),
        Panel(
            "Highest error ratio",
            "percentunit",
            "Of the model that fails most: overload, expired, unavailable and failed among all requests "
            "that are not the caller's mistake or withdrawn.",
            (Query("max(model_version:inferd_requests:error_ratio_rate5m)", "errors"),),
            view="stat",
            width=4,
        ),
        Panel(
            "Requests waiting",
            "short",
            "Requests in the queues of all models.",
            (Query(f"sum(server_model_version:inferd_queue_requests:sum{{{_S}}})", "waiting"),),
            view="stat",
            width=4,
        ),
        Panel(
            "Alerts firing",
            "short",
            "Alerts of inferd that fire now; docs/alerts.md tells what to do about each.",
            (
                Query(
                    'count(ALERTS{alertname=~"Inferd.*", alertstate="firing"}) or vector(0)',
                    "alerts",
                ),
            ),
            view="stat",
            width=4,
        ),
    ),
)

_FIGURES = Row(
    "Speed and consumption",
    (
        Panel(
            "Models: speed, errors and what they use",
            "short",
            "Over the last five minutes. Speed is 1 / mean time of a request: what one caller who waits "
            "gets through in a second. CPU and memory are the sum over the workers that serve the version.",
            (
                Query("model_version:inferd_requests:rate5m", "Requests", "reqps"),
                Query("model_version:inferd_speed:mean5m", "Speed", "reqps"),
                Query("model_version:inferd_request_duration_seconds:p99_rate5m", "p99", "s"),
                Query("model_version:inferd_requests:error_ratio_rate5m", "Errors", "percentunit"),
                Query("model_version:inferd_batch_rows:mean5m", "Rows per batch", "short"),
                Query("model_version:inferd_worker_up:sum", "Instances", "short"),
                Query("model_version:inferd_process_cpu_seconds:rate5m", "CPU cores", "short"),
                Query("model_version:inferd_process_memory_bytes:sum", "Memory", "bytes"),
                Query("model_version:inferd_worker_gpu_memory_bytes:sum", "GPU memory", "bytes"),
            ),
            view="table",
            width=24,
        ),
    ),
)

_REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Requests per second, by model",
            "reqps",
            "All outcomes together.",
            (Query("model_version:inferd_requests:rate5m", "{{model}} {{version}}"),),
            view="stack",
        ),
        Panel(
            "Requests per second, by outcome",
            "reqps",
            "invalid and cancelled are the caller's doing; overload, expired, unavailable and failed the "
            "server's.",
            (
                Query(
                    "sum by (outcome) (model_version_outcome:inferd_requests:rate5m)", "{{outcome}}"
                ),
            ),
            view="stack",
        ),
        Panel(
            "Error ratio, by model",
            "percentunit",
            "Requests that failed by the server's fault, among those that count.",
            (Query("model_version:inferd_requests:error_ratio_rate5m", "{{model}} {{version}}"),),
            top=1,
        ),
        Panel(
            "p99 of the time to answer, by model",
            "s",
            "One request in a hundred takes longer, from its arrival to its answer.",
            (
                Query(
                    "model_version:inferd_request_duration_seconds:p99_rate5m",
                    "{{model}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Requests waiting, by model",
            "short",
            "In the queues of all gateways of a server.",
            (
                Query(
                    f"server_model_version:inferd_queue_requests:sum{{{_S}}}",
                    "{{model}} {{version}} {{server}}",
                ),
            ),
        ),
        Panel(
            "Calls per second, by method and status",
            "reqps",
            "Everything over gRPC, inference and all else.",
            (
                Query(
                    "sum by (rpc_method, rpc_response_status_code) "
                    f"(rate(rpc_server_call_duration_seconds_count{{{_JOB}}}[$__rate_interval]))",
                    "{{rpc_method}} {{rpc_response_status_code}}",
                ),
            ),
        ),
    ),
)

_RESOURCES = Row(
    "Resources",
    (
        Panel(
            "Versions, by state",
            "short",
            "LOADING and UNLOADING pass; UNAVAILABLE stays until somebody acts.",
            (Query(f"sum by (state) (inferd_model_state{{{_S}}})", "{{state}}"),),
        ),
        Panel(
            "CPU cores in use, by model",
            "short",
            "CPU seconds per second of the workers that serve it.",
            (Query("model_version:inferd_process_cpu_seconds:rate5m", "{{model}} {{version}}"),),
            view="stack",
        ),
        Panel(
            "Memory, by model",
            "bytes",
            "Of the workers that serve it; what they share is divided among them.",
            (Query("model_version:inferd_process_memory_bytes:sum", "{{model}} {{version}}"),),
            view="stack",
        ),
    ),
)

FLEET = Page(
    "fleet",
    "inferd: fleet",
    "All servers and models: what they are asked, how they answer and what they use.",
    (SERVER,),
    (_NOW, _FIGURES, _REQUESTS, _RESOURCES),
)
