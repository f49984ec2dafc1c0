"""`inferd serve`: the server, in the foreground."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferd.core import settings as configuration
from inferd.core.settings import Settings, SettingsError
from inferd.core.telemetry import logs
from inferd.server.cli.output import FAILED, MISUSED, complain, program
from inferd.server.supervisor.app import Programs, StartError, Supervisor
from inferd.server.supervisor.summary import ServedVersion, Summary, short
from inferd.server.supervisor.versions.deployment import READY
from inferd.wire.dtypes import ANY

_DEFAULT_ADDRESS = "127.0.0.1:8001"
_WIDTH = 120
"""Columns of the table where the output is not a terminal."""

_Option = Parameter(negative=(), show_default=False)


def serve(
    *paths: Annotated[Path, Parameter(show_default=False)],
    grpc: Annotated[str | None, Parameter(metavar="HOST:PORT", show_default=False)] = None,
    http: Annotated[str | None, Parameter(metavar="HOST:PORT|off", show_default=False)] = None,
    ops: Annotated[str | None, Parameter(metavar="HOST:PORT|off", show_default=False)] = None,
    metrics_compat: Annotated[Literal["none", "triton"] | None, _Option] = None,
    gateways: Annotated[str | None, Parameter(metavar="N|auto", show_default=False)] = None,
    device: Annotated[tuple[str, ...] | None, _Option] = None,
    trust: Annotated[tuple[str, ...] | None, Parameter(metavar="NAME", negative=())] = None,
    insecure: Annotated[bool | None, _Option] = None,
    config: Annotated[Path | None, Parameter(metavar="FILE", show_default=False)] = None,
    ready_file: Annotated[Path | None, Parameter(metavar="FILE", show_default=False)] = None,
    grace: Annotated[float | None, Parameter(metavar="SECONDS", show_default=False)] = None,
    tracing: Annotated[Literal["off", "otlp", "console"] | None, _Option] = None,
    trace_sampling: Annotated[float | None, Parameter(metavar="SHARE", show_default=False)] = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, _Option] = None,
    log_format: Annotated[Literal["auto", "json", "console"] | None, _Option] = None,
    access_log: Annotated[float | None, Parameter(metavar="SHARE", show_default=False)] = None,
) -> int:
    """Serve models until Ctrl-C.

    For example

    - inferd serve models
    - inferd serve digits.pt2 --grpc 127.0.0.1:0 --http off --ready-file ready.json
    - inferd serve models/echo --trust echo --device cpu:0-3
    - inferd serve models --grpc 0.0.0.0:8001 --insecure

    Settings are also keys in inferd.toml and variables: --log-level is log_level and
    INFERD_LOG_LEVEL; paths are models, --device is devices; lists in variables have commas.
    Options win over variables, variables over the file. Without an option are max_message_bytes,
    max_request_time, max_arena_bytes, load_timeout, parallel_loads, door,
    client_shared_memory and repository_control.
    The file alone has tables for single models, such as [model.echo] with trust, devices,
    instances, threads, versions, max_batch_size, max_queue_delay_ms, max_queue_size and max_streams.

    Args:
        paths: .pt2 files, models' folders, and folders of those (default: `models` in inferd.toml).
        grpc: Where to listen, port 0 for a free one (default: 127.0.0.1:8001).
        http: Where to listen for HTTP, port 0 for a free one, or off (default: 127.0.0.1:8000).
        ops: Where to serve /metrics, /status and probes, port 0 for a free one, or off (default:
            127.0.0.1:8002).
        metrics_compat: triton: metrics bear Triton's names, too (default: none).
        gateways: Processes that share the port, or auto: one for every two cores that workers on the
            CPU leave, from 1 to 8 (default: 1).
        device: Where models run whose own settings do not say: auto, cpu, cpu:0-3 (cores), cuda or
            cuda:1; once per device (default: auto).
        trust: A model that may run code of its own, such as model.py; once per model.
        insecure: Listen where other machines can call, unencrypted and unasked.
        config: Settings (default: ./inferd.toml, if it is there).
        ready_file: Written when all models have loaded or failed to: {"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8000", "ops": "127.0.0.1:8002", "pid": 42}.
        grace: How long requests may take to finish after Ctrl-C (default: 30).
        tracing: Where spans of requests go: off, otlp (where OTEL_EXPORTER_OTLP_ENDPOINT says), or
            console: the log (default: off).
        trace_sampling: Share of the requests without a trace context that is traced (default: 0.01).
        log_level: debug, info, warning or error (default: info).
        log_format: json, console or auto: console on a terminal, else json (default: auto).
        access_log: The share of inference requests with a line in the log, from 0 to 1 (default: 0).
    """
    try:
        settings = configuration.read(
            {
                "models": paths or None,
                "grpc": grpc,
                "http": http,
                "ops": ops,
                "metrics_compat": metrics_compat,
                "gateways": gateways,
                "devices": device or None,
                "trust": trust or None,
                "insecure": insecure,
                "ready_file": ready_file,
                "grace": grace,
                "tracing": tracing,
                "trace_sampling": trace_sampling,
                "log_level": log_level,
                "log_format": log_format,
                "access_log": access_log,
            },
            config=config,
        )
    except SettingsError as error:
        for line in str(error).splitlines():
            complain("serve", line, MISUSED)
        return MISUSED
    if settings.tracing == "otlp" and not _has_otlp():
        return complain(
            "serve",
            "tracing is otlp, and its exporter is not installed: pip install 'inferd[otel]', or take "
            "--tracing console",
            MISUSED,
        )
    if not settings.models:
        return complain(
            "serve",
            "no models: name .pt2 files or folders, as in inferd serve models, or set models in "
            f"{configuration.FILE_NAME}",
            MISUSED,
        )
    return _run(settings)


def _has_otlp() -> bool:
    try:
        version("opentelemetry-exporter-otlp-proto-grpc")
    except PackageNotFoundError:
        return False
    return True


def _run(settings: Settings) -> int:
    log_format = logs.configure(settings.log_level, settings.log_format, process="supervisor")
    programs = Programs.of_inferd(settings.log_level, log_format)
    supervisor = Supervisor(settings, programs, on_ready=_show)
    try:
        asyncio.run(supervisor.run())
    except StartError as error:
        return complain("serve", str(error), FAILED)
    return 0


def _show(summary: Summary) -> None:
    """What is served, what is not and why, where, and what to type next."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH)
    console.print(_table(summary))
    for line in _lines(summary):
        console.print(Text(logs.escape(line)), soft_wrap=True)


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "version", "state", "device", "workers", "inputs", "outputs"):
        table.add_column(heading, no_wrap=heading in {"version", "state", "workers"})
    for each in summary.versions:
        signature = each.signature
        cells = (
            each.model,
            str(each.version),
            each.state,
            ", ".join(each.devices),
            f"{each.live} of {each.instances}" if each.live != each.instances else str(each.live),
            short(signature.inputs) if signature is not None else "",
            short(signature.outputs) if signature is not None else "",
        )
        colour = "green" if each.state == READY else "red"
        styled = [Text(logs.escape(cell)) for cell in cells]
        styled[2].stylize(colour)
        table.add_row(*styled)
    return table


def _lines(summary: Summary) -> Iterator[str]:
    for each in summary.versions:
        if each.state != READY:
            yield f"\n{each.model} version {each.version} is not served: {each.reason}"
    for note in summary.notes:
        yield f"\n{note}"
    several = f", {summary.gateways} gateways" if summary.gateways > 1 else ""
    where = summary.addresses
    http = f", HTTP at {where.http}" if where.http is not None else ""
    ops = f", metrics at http://{where.ops}/metrics" if where.ops is not None else ""
    yield f"\ngRPC at {where.grpc}{http}{ops}{several}. Try:"
    option = "" if where.grpc == _DEFAULT_ADDRESS else f" --address {where.grpc}"
    example = next((each for each in summary.versions if _can_be_tried(each)), None)
    if example is not None:
        yield f"  {program()} predict {example.model} --random{option}"
    yield f"  {program()} inspect {where.grpc}"
    yield "Ctrl-C stops the server."


def _can_be_tried(version: ServedVersion) -> bool:
    """Whether its inputs can be made up from its signature."""
    if version.state != READY or version.signature is None:
        return False
    return all(spec.datatype != ANY and spec.dims is not None for spec in version.signature.inputs)
