"""One step's result, put together from what clients and server saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import grpc

from inferd.bench.observed.footprint import Footprint
from inferd.bench.observed.served import Served
from inferd.bench.orders import Done
from inferd.bench.plan import Closed, Step
from inferd.bench.result import (
    ClientSide,
    ErrorCount,
    LatencyMs,
    Resources,
    ServerSide,
    StepResult,
)
from inferd.bench.samples import Latency, Measured
from inferd.bench.verdict import ClientLoad, client_limit, machine_limit

_CODES: Mapping[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


class Window(NamedTuple):
    """A time that is measured, by the monotonic clock."""

    begin: float
    end: float


def step_result(
    step: Step,
    measured: Measured,
    reports: Sequence[Done],
    *,
    rows: int,
    transport: Literal["core", "aio"],
    seen: Served | None,
    footprint: Footprint | None,
    cpus: Collection[int],
) -> StepResult:
    """The result of a step whose requests have so many `rows`, made on the cores `cpus`."""
    load = ClientLoad(
        processes=len(reports),
        cores=max(report.cores for report in reports),
        late=measured.late,
        unsent=sum(report.unsent for report in reports),
    )
    latency = measured.latency
    texts = {code: text for report in reversed(reports) for code, text in report.texts.items()}
    return StepResult(
        concurrency=step.concurrency if isinstance(step, Closed) else None,
        rate=None if isinstance(step, Closed) else step.rate,
        seconds=measured.seconds,
        answered=measured.answered,
        failed=measured.failed,
        throughput=measured.rate,
        rows_per_second=measured.rate * rows,
        latency_ms=None if latency is None else _latency(latency),
        errors=tuple(
            ErrorCount(_CODES.get(code, f"CODE_{code}"), count, texts.get(code, ""))
            for code, count in sorted(measured.errors.items(), key=lambda each: -each[1])
        ),
        server=None if seen is None else _server(seen),
        resources=None if footprint is None else _resources(footprint, measured.rate),
        client=ClientSide(
            transport=transport,
            processes=load.processes,
            cores=load.cores,
            late_ms=load.late * 1e3,
            unsent=load.unsent,
            limit=client_limit(load, latency.p99 if latency is not None else 0.0),
        ),
        machine_limit=None
        if footprint is None
        else machine_limit(
            sum(report.cores for report in reports),
            footprint.cores,
            client_cpus=cpus,
            server_cpus=footprint.cpus,
        ),
    )


def _latency(latency: Latency) -> LatencyMs:
    return LatencyMs(
        p50=latency.p50 * 1e3,
        p90=latency.p90 * 1e3,
        p99=latency.p99 * 1e3,
        p99_9=latency.p999 * 1e3,
        max=latency.max * 1e3,
        mean=latency.mean * 1e3,
    )


def _server(seen: Served) -> ServerSide:
    return ServerSide(
        requests=seen.requests,
        failed=seen.failed,
        rows=seen.rows,
        batch=seen.batch,
        queue_ms=seen.queue * 1e3,
        compute_input_ms=seen.compute_input * 1e3,
        compute_infer_ms=seen.compute_infer * 1e3,
        compute_output_ms=seen.compute_output * 1e3,
    )


def _resources(footprint: Footprint, rate: float) -> Resources:
    return Resources(
        processes=footprint.processes,
        cores=footprint.cores,
        cpu_seconds_per_1000_requests=footprint.cores / rate * 1000 if rate else None,
        rss_bytes=footprint.rss,
        pss_bytes=footprint.pss,
    )
