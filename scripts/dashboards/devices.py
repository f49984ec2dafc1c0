"""GPUs: how busy, how full, how hot, and for whom."""

from __future__ import annotations

from dashboards.page import GPU, SERVER, Page, Panel, Query, Row

_G = 'server=~"$server", gpu=~"$gpu"'
_S = 'server=~"$server"'
_ONE = "GPU {{gpu}} {{server}}"

_LOAD = Row(
    "Load",
    (
        Panel(
            "Share of time in which it computes",
            "percentunit",
            "At least one kernel ran; 100 % does not mean that it could do no more.",
            (Query(f"inferd_gpu_utilization_ratio{{{_G}}}", _ONE),),
            top=1,
        ),
        Panel(
            "Share of memory in use",
            "percentunit",
            "Of all processes on the GPU, inferd's or not.",
            (Query(f"server_gpu:inferd_gpu_memory:ratio{{{_G}}}", _ONE),),
            top=1,
        ),
        Panel(
            "Memory in use, and there is",
            "bytes",
            "The flat lines are what each GPU has.",
            (
                Query(f"inferd_gpu_memory_used_bytes{{{_G}}}", f"used {_ONE}"),
                Query(f"inferd_gpu_memory_total_bytes{{{_G}}}", f"total {_ONE}"),
            ),
        ),
        Panel(
            "GPU memory, by worker",
            "bytes",
            "What each worker's process holds, as the driver counts it.",
            (
                Query(
                    f"inferd_worker_gpu_memory_bytes{{{_G}}}",
                    "{{model}} {{version}} {{instance}} GPU {{gpu}}",
                ),
            ),
            view="stack",
        ),
        Panel(
            "Memory as torch sees it, by worker",
            "bytes",
            "allocated: tensors; reserved: kept from the driver for new tensors; peak: the most there was.",
            tuple(
                Query(
                    f"inferd_torch_{kind}_bytes{{{_S}}}",
                    f"{kind} {{{{model}}}} {{{{version}}}} {{{{instance}}}}",
                )
                for kind in ("allocated", "reserved", "peak")
            ),
        ),
        Panel(
            "Versions on each GPU",
            "short",
            "Where it is more than one, energy cannot be told apart by version.",
            (Query(f"server_gpu:inferd_versions:count{{{_G}}}", _ONE),),
        ),
    ),
)

_POWER = Row(
    "Power and heat",
    (
        Panel(
            "Power drawn",
            "watt",
            "At the moment of the scrape.",
            (Query(f"inferd_gpu_power_watts{{{_G}}}", _ONE),),
        ),
        Panel(
            "Energy per second, measured",
            "watt",
            "From the driver's energy counter: the true mean over five minutes, in joules per second.",
            (Query(f"server_gpu:inferd_gpu_energy_joules:rate5m{{{_G}}}", _ONE),),
        ),
        Panel(
            "Temperature",
            "celsius",
            "Slowdown begins where the model of GPU says, often above 85 °C.",
            (Query(f"inferd_gpu_temperature_celsius{{{_G}}}", _ONE),),
        ),
        Panel(
            "Clocks",
            "hertz",
            "sm: processors; falls when idle, and when throttled.",
            (Query(f"inferd_gpu_clock_hertz{{{_G}}}", f"{{{{clock}}}} {_ONE}"),),
        ),
        Panel(
            "Slowed down, by reason",
            "short",
            "1 while it runs slower for this reason.",
            (
                Query(
                    f"max by (server, gpu, reason) (inferd_gpu_throttled{{{_G}}})",
                    f"{{{{reason}}}} {_ONE}",
                ),
            ),
            top=1,
        ),
    ),
)

_ERRORS = Row(
    "Errors",
    (
        Panel(
            "Lost",
            "short",
            "1 while it does not answer its driver any more; nothing else is known of it then.",
            (Query(f"inferd_gpu_lost{{{_G}}}", _ONE),),
            top=1,
        ),
        Panel(
            "XID errors",
            "short",
            "Counted since the server started; NVIDIA's list says what each number means.",
            (Query(f"inferd_gpu_xid_errors_total{{{_G}}}", f"XID {{{{xid}}}} {_ONE}"),),
        ),
        Panel(
            "ECC errors of the memory",
            "short",
            "Corrected ones are harmless while rare; an uncorrected one ends the process that met it.",
            (Query(f"inferd_gpu_ecc_errors_total{{{_G}}}", f"{{{{kind}}}} {_ONE}"),),
        ),
    ),
)

DEVICES = Page(
    "devices",
    "inferd: devices",
    "GPUs: how busy, how full, how hot, and for which models.",
    (SERVER, GPU),
    (_LOAD, _POWER, _ERRORS),
)
