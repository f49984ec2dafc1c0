"""A result to show."""

from __future__ import annotations

import pytest

from inferd.bench.machine import Machine
from inferd.bench.plan import Closed, Plan
from inferd.bench.result import (
    ClientSide,
    ErrorCount,
    LatencyMs,
    Resources,
    Result,
    ServerSide,
    StepResult,
    Target,
    settings_of,
)

LATENCY = LatencyMs(p50=1.25, p90=2.5, p99=1234.5, p99_9=99999.4, max=100000.6, mean=150.5)


@pytest.fixture
def step() -> StepResult:
    """A step with everything measured, and large numbers."""
    return StepResult(
        concurrency=128,
        rate=None,
        seconds=5.0,
        answered=600_000,
        failed=12_345,
        throughput=123_456.7,
        rows_per_second=12_345_678.9,
        latency_ms=LATENCY,
        errors=(ErrorCount("UNAVAILABLE", 12_345, "no\nroom"),),
        server=ServerSide(600_000, 12_345, 60_000_000, 31.97, 0.25, 0.01, 1234.5, 0.02),
        resources=Resources(4, 1.9, 0.0154, 4_321_000_000, 3_210_000_000),
        client=ClientSide("core", 2, 0.97, 0.0, 0, "a client process used 97% of a core"),
    )


@pytest.fixture
def result(step: StepResult) -> Result:
    """A run of one step."""
    return Result(
        schema=1,
        started="2026-01-02T03:04:05+00:00",
        interrupted=False,
        machine=Machine("Linux 6", "A processor", 2, 8_000_000_000, "3.11.7", "1.80", "0.1.0"),
        target=Target(
            "127.0.0.1:8001",
            "inferd 0.1.0",
            "digits",
            "",
            ("image FP32 [100, 64]",),
            100,
            25_657,
            None,
        ),
        settings=settings_of(Plan((Closed(128),))),
        steps=(step,),
        notes=("CPU and memory of the server were not measured: it is remote",),
    )
