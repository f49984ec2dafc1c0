"""A result as lines of text that fit 100 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from inferd.bench.result import Result, StepResult

WIDTH = 100

_KEEPS_UP = 0.95
"""Share of what arrived that has to be answered meanwhile."""

_Cell = Callable[[StepResult], str]


def result_lines(result: Result) -> Iterator[str]:
    """The whole result, for a terminal; the lines of its tables have at most `WIDTH` characters."""
    yield from _heading(result)
    if not result.steps:
        yield ""
        yield "nothing was measured"
        return
    yield ""
    yield from _table(result.steps, _client_columns(result))
    if any(step.server or step.resources for step in result.steps):
        yield ""
        yield "on the server, ms per request:"
        yield from _table(result.steps, _server_columns(result))
    if told := remarks(result):
        yield ""
        yield from told


def remarks(result: Result) -> list[str]:
    """What the figures alone do not tell: errors, whether client or machine was the limit, and notes."""
    told: list[str] = []
    for step in result.steps:
        where = f"at {step.label}" if step.rate else f"at {step.label} callers"
        told += [
            f"{where}: {error.count} x {error.code}: {' '.join(error.message.split())}"
            for error in step.errors
        ]
        if step.client.limit is not None:
            told.append(f"{where}: THE CLIENT WAS THE LIMIT, not the server: {step.client.limit}")
        if step.machine_limit is not None:
            told.append(f"{where}: THE MACHINE WAS THE LIMIT: {step.machine_limit}")
        told += _backlog(where, step)
        if not step.throughput and step.answered:
            told.append(f"{where}: no answer came in time; try a longer --duration")
    if any(step.client.transport == "aio" for step in result.steps):
        told.append(
            "the client ran on grpc.aio, for this grpcio's core is not known: calls cost more"
        )
    most = max((step.client.processes for step in result.steps), default=1)
    if most > 1:
        told.append(f"up to {most} client processes; 'client' is the busiest one's share of a core")
    told += result.notes
    if result.interrupted:
        told.append("interrupted: these are the figures so far")
    return told


def _backlog(where: str, step: StepResult) -> list[str]:
    """That a server falls behind an open loop: waiting grows as long as the load lasts."""
    offered = (step.answered + step.failed) / step.seconds
    if step.rate is None or step.throughput >= _KEEPS_UP * offered:
        return []
    came, answered = _number(offered), _number(step.throughput)
    told = f"{where}: the server fell behind: {came} requests/s came, {answered} were answered; "
    return [f"{told}latency depends on how long that goes on"]


def _heading(result: Result) -> Iterator[str]:
    target, settings = result.target, result.settings
    version = f" version {target.version}" if target.version else ""
    rows = f"{target.rows} row{'s' * (target.rows != 1)}"
    yield f"{target.model}{version} at {target.address} ({target.server})"
    yield f"request: {', '.join(target.inputs) or 'no input'}; {rows}, {target.request_bytes} bytes"
    arrivals = f", {settings.arrivals} arrivals" if result.steps and result.steps[0].rate else ""
    yield (
        f"load: {settings.mode}{arrivals}, {settings.duration:g} s per step after "
        f"{settings.warm_up:g} s of warm-up, deadline {settings.timeout:g} s"
    )
    if target.process is not None:
        yield f"server: {target.process}"


def _client_columns(result: Result) -> list[tuple[str, _Cell]]:
    def latency(name: str) -> _Cell:
        return lambda step: "-" if step.latency_ms is None else _ms(getattr(step.latency_ms, name))

    columns: list[tuple[str, _Cell]] = [
        ("rate" if result.steps[0].rate else "callers", lambda step: step.label),
        ("requests/s", lambda step: _number(step.throughput)),
    ]
    if result.target.rows != 1:
        columns.append(("rows/s", lambda step: _number(step.rows_per_second)))
    columns += [
        ("p50 ms", latency("p50")),
        ("p90", latency("p90")),
        ("p99", latency("p99")),
        ("p99.9", latency("p99_9")),
        ("max", latency("max")),
        ("mean", latency("mean")),
        ("errors", lambda step: str(step.failed)),
        ("client", lambda step: f"{step.client.cores:.0%}{'!' * step.limited}"),
    ]
    return columns


def _server_columns(result: Result) -> list[tuple[str, _Cell]]:
    def server(name: str) -> _Cell:
        return lambda step: "-" if step.server is None else _ms(getattr(step.server, name))

    def batch(step: StepResult) -> str:
        known = step.server is not None and step.server.batch is not None
        return f"{step.server.batch:.1f}" if step.server and known else "-"

    def cpu(step: StepResult) -> str:
        seconds = step.resources and step.resources.cpu_seconds_per_1000_requests
        return "-" if seconds is None else f"{seconds:.3f}"

    return [
        ("rate" if result.steps[0].rate else "callers", lambda step: step.label),
        ("queue", server("queue_ms")),
        ("input", server("compute_input_ms")),
        ("infer", server("compute_infer_ms")),
        ("output", server("compute_output_ms")),
        ("rows/batch", batch),
        ("CPU s/1000", cpu),
        ("RSS MB", lambda step: _megabytes(step.resources and step.resources.rss_bytes)),
        ("PSS MB", lambda step: _megabytes(step.resources and step.resources.pss_bytes)),
    ]


def _table(steps: Sequence[StepResult], columns: Sequence[tuple[str, _Cell]]) -> Iterator[str]:
    rows = [[name for name, _ in columns], *([cell(step) for _, cell in columns] for step in steps)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _megabytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:.0f}"
