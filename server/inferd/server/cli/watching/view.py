"""A status as tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferd.core.telemetry.logs import escape
from inferd.core.telemetry.status import Status, VersionStatus
from inferd.server.cli.watching import words
from inferd.server.cli.watching.problems import UNLOADED, problems

Order = Literal["name", "rate", "p99", "queue", "cpu"]
"""What models are sorted by: their names, or the largest first."""

_GAP = 2
_LEAST_NAME = 8

_RANKS: dict[str, Callable[[VersionStatus], float]] = {
    "rate": lambda each: each.figures.requests_per_second,
    "p99": lambda each: each.figures.p99_seconds or 0.0,
    "queue": lambda each: each.queued,
    "cpu": lambda each: each.consumption.cpu or 0.0,
}


def picture(
    status: Status, width: int, *, order: Order = "name", most: int | None = None
) -> RenderableType:
    """All of it, `width` columns wide; of the models at most the first `most`."""
    models = sorted(status.models, key=lambda each: (each.model, each.version))
    if order != "name":
        models.sort(key=_RANKS[order], reverse=True)
    shown = models[:most]
    parts: list[RenderableType] = [*_heading(status)]
    if shown:
        parts += ["", _traffic(shown, width), "", _resources(shown, status, width)]
    if len(shown) < len(models):
        parts.append(Text(f"… and {len(models) - len(shown)} more", style="dim"))
    if not models:
        parts += ["", Text("no models")]
    parts += ["", _processes(status, width)]
    if status.gpus:
        parts += ["", _gpus(status, width)]
    over = words.duration(status.window) if status.window >= 10 else f"{status.window:.1f} s"
    note = f"over the last {over}; p50 and p99 are estimated from a histogram's buckets"
    return Group(*parts, "", Text(note, style="dim"))


def _heading(status: Status) -> Iterator[Text]:
    server = status.server
    ready = ("ready", "green") if server.ready else ("not ready", "red")
    up = f", up {words.duration(server.uptime)}, pid {server.supervisor.pid}"
    yield Text.assemble((escape(f"inferd {server.version}"), "bold"), ", ", ready, up)
    where = (("gRPC", server.addresses.grpc), ("HTTP", server.addresses.http))
    told = [f"{name} at {at}" for name, at in (*where, ("operations", server.addresses.ops)) if at]
    yield Text(escape(", ".join(told)))
    if server.unmatched:
        yield Text(f"{server.unmatched:,} requests for models or versions that are not here")
    for problem in problems(status):
        yield Text(escape(f"! {problem}").replace("\n", " "), style="red")


def _traffic(models: Sequence[VersionStatus], width: int) -> Table:
    headings = "model", "state", "req/s", "errors", "p50 ms", "p99 ms", "queue", "age", "batch"
    rows = []
    for each in models:
        told = each.figures
        rows.append(
            (
                _name(each),
                _state(each),
                words.rate(told.requests_per_second),
                words.share(told.error_share),
                words.milliseconds(told.p50_seconds),
                words.milliseconds(told.p99_seconds),
                str(each.queued),
                words.age(each.queue_age) if each.queued else words.UNKNOWN,
                words.number(told.batch_rows),
            )
        )
    styles = [_style(each) for each in models]
    return _table(headings, rows, width, left={"model", "state"}, styles={1: styles})


def _resources(models: Sequence[VersionStatus], status: Status, width: int) -> Table:
    on_gpus = bool(status.gpus)
    headings = ["model", "devices", "restarts", "speed", "CPU", "memory"]
    rows = []
    for each in models:
        used = each.consumption
        speed = each.figures.speed
        row = [
            _name(each),
            _devices(each.devices),
            str(sum(each.restarts.values())),
            words.UNKNOWN if speed is None else words.rate(speed),
            words.cpu(used.cpu),
            words.size(used.memory_bytes),
        ]
        if on_gpus:
            row += [words.size(used.gpu_memory_bytes), words.whole(used.watts, "W")]
        rows.append(row)
    if on_gpus:
        headings += ["on GPU", "power"]
    return _table(headings, rows, width, left={"model", "devices"})


def _processes(status: Status, width: int) -> Table:
    headings = "process", "state", "restarts", "lag ms", "CPU", "memory"
    own = status.server.supervisor
    lag = words.milliseconds(status.server.lag_seconds)
    rows = [("supervisor", "up", "-", lag, words.cpu(own.cpu), words.size(own.memory_bytes))]
    for each in status.gateways:
        cpu, memory = (each.use.cpu, each.use.memory_bytes) if each.use else (None, None)
        lag = words.milliseconds(each.lag_seconds)
        state = "up" if each.up else "down"
        restarts = str(each.restarts)
        rows.append((each.name, state, restarts, lag, words.cpu(cpu), words.size(memory)))
    styles = ["green", *("green" if each.up else "red" for each in status.gateways)]
    return _table(headings, rows, width, left={"process", "state"}, styles={1: styles})


def _gpus(status: Status, width: int) -> Table:
    headings = "GPU", "busy", "memory", "of", "power", "temperature"
    rows = [
        (
            f"{each.index} {each.name}",
            words.share(each.utilization),
            words.size(each.memory_used),
            words.size(each.memory_total),
            words.whole(each.power_watts, "W"),
            words.whole(each.temperature, "°C"),
        )
        for each in status.gpus
    ]
    return _table(headings, rows, width, left={"GPU"})


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    left: set[str],
    styles: dict[int, list[str]] | None = None,
) -> Table:
    """Every cell on one line; the first column gets the room that the others leave."""
    cells = [[escape(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    room = max(_LEAST_NAME, width - sum(_GAP + each for each in widths[1:]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for at, row in enumerate(cells):
        texts = [Text(words.shortened(row[0], room)), *map(Text, row[1:])]
        for column, column_styles in (styles or {}).items():
            texts[column].stylize(column_styles[at])
        table.add_row(*texts)
    return table


def _name(version: VersionStatus) -> str:
    return f"{version.model}/{version.version}"


def _state(version: VersionStatus) -> str:
    if version.state == "UNAVAILABLE":
        return UNLOADED if version.reason == UNLOADED else "down"
    return f"{version.state.lower()} {version.up}/{version.instances}"


def _style(version: VersionStatus) -> str:
    if version.state == "UNAVAILABLE":
        return "dim" if version.reason == UNLOADED else "red"
    return "green" if version.state == "READY" and version.up == version.instances else "yellow"


def _devices(devices: Sequence[str]) -> str:
    if not devices:
        return words.UNKNOWN
    more = f" +{len(devices) - 1}" if len(devices) > 1 else ""
    return words.shortened(devices[0], 12) + more
