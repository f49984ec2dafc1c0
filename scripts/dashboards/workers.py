"""Processes: which live, which die, and what each uses."""

from __future__ import annotations

from dashboards.page import SERVER, Page, Panel, Query, Row

_S = 'server=~"$server"'
_RATE = "[$__rate_interval]"
_ONE = "{{process}} {{model}} {{version}} {{instance}}"

_LIFE = Row(
    "Life",
    (
        Panel(
            "Workers that requests reach",
            "short",
            "1 while requests reach it, 0 while they do not.",
            (
                Query(
                    f"max by (server, model, version, instance, device) (inferd_worker_up{{{_S}}})",
                    "{{model}} {{version}} {{instance}} {{device}}",
                ),
            ),
            top=1,
        ),
        Panel(
            "Workers lost, by model and cause",
            "short",
            "Within ten minutes. exit: ended by itself, signal: killed, timeout: took too long to load.",
            (
                Query(
                    f"sum by (model, version, cause) (increase(inferd_worker_restarts_total{{{_S}}}[10m]))",
                    "{{model}} {{version}} {{cause}}",
                ),
            ),
        ),
        Panel(
            "Gateways that take calls",
            "short",
            "1 while it takes calls, 0 while it does not.",
            (Query(f"inferd_gateway_up{{{_S}}}", "{{gateway}} {{server}}"),),
            top=1,
        ),
        Panel(
            "Gateways lost",
            "short",
            "Within ten minutes; each loss costs the calls that it had in flight.",
            (
                Query(
                    f"sum by (server, gateway) (increase(inferd_gateway_restarts_total{{{_S}}}[10m]))",
                    "{{gateway}} {{server}}",
                ),
            ),
        ),
        Panel(
            "Lag of event loops",
            "s",
            "How much later than asked a process's loop came round: it was busy, or had no CPU.",
            (
                Query(
                    f"max by (server, process) (inferd_event_loop_lag_seconds{{{_S}}})",
                    "{{process}} {{server}}",
                ),
            ),
        ),
        Panel(
            "Versions of inferd and Python",
            "short",
            "Servers of each version.",
            (
                Query(
                    f"count by (inferd_version, python_version) (inferd_build_info{{{_S}}})",
                    "inferd {{inferd_version}}, Python {{python_version}}",
                ),
            ),
        ),
    ),
)

_USE = Row(
    "What each process uses",
    (
        Panel(
            "CPU cores in use, by process",
            "short",
            "CPU seconds per second, in user and system mode.",
            (Query(f"rate(inferd_process_cpu_seconds_total{{{_S}}}{_RATE})", _ONE),),
            view="stack",
        ),
        Panel(
            "Memory, shared parts divided, by process",
            "bytes",
            "PSS: adds up over processes to what they use together.",
            (Query(f"inferd_process_proportional_bytes{{{_S}}}", _ONE),),
            view="stack",
        ),
        Panel(
            "Memory, shared parts included, by process",
            "bytes",
            "RSS: what one process would keep if it were alone.",
            (Query(f"inferd_process_resident_bytes{{{_S}}}", _ONE),),
        ),
        Panel(
            "Threads, by process",
            "short",
            "Steady once a model has loaded.",
            (Query(f"inferd_process_threads{{{_S}}}", _ONE),),
        ),
        Panel(
            "Open descriptors, by process",
            "short",
            "Connections and files; one that only grows is a leak.",
            (Query(f"inferd_process_open_files{{{_S}}}", _ONE),),
        ),
    ),
)

_SCRAPE = Row(
    "The metrics themselves",
    (
        Panel(
            "What gathering metrics took",
            "s",
            "Inside the server, at each scrape.",
            (Query(f"inferd_scrape_seconds{{{_S}}}", "{{server}}"),),
        ),
        Panel(
            "Processes that did not answer a scrape",
            "short",
            "Within ten minutes; their last figures stood in.",
            (
                Query(
                    f"sum by (server, process) (increase(inferd_scrape_unanswered_total{{{_S}}}[10m]))",
                    "{{process}} {{server}}",
                ),
            ),
        ),
    ),
)

WORKERS = Page(
    "workers",
    "inferd: workers",
    "Gateways, workers and supervisors: which live, which die, and what each uses.",
    (SERVER,),
    (_LIFE, _USE, _SCRAPE),
)
