"""What a run found, and its JSON: each field below is a key of that name.

Rates are per second, `_ms` is milliseconds, `_bytes` bytes. A later format counts `schema` up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from inferd.bench.machine import Machine
from inferd.bench.plan import Plan

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked: a model of a server, with this request.

    `version` is empty where the server picked. `inputs` tell name, datatype and shape of each
    tensor. `process` describes the server's process where it runs on this machine.
    """

    address: str
    server: str
    model: str
    version: str
    inputs: tuple[str, ...]
    rows: int
    request_bytes: int
    process: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How it was asked; times in seconds. `processes` None: as many as needed."""

    mode: Literal["unary", "stream"]
    duration: float
    warm_up: float
    timeout: float
    arrivals: Literal["poisson", "constant"]
    seed: int
    connections: int
    processes: int | None


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Of answered requests, from when each was meant to be sent to its answer; exact percentiles."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float
    mean: float


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Requests that ended with one gRPC code, and the first message that came with it."""

    code: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class ServerSide:
    """The server's account by ModelStatistics: means per request, `batch` is rows per execution."""

    requests: int
    failed: int
    rows: int
    batch: float | None
    queue_ms: float
    compute_input_ms: float
    compute_infer_ms: float
    compute_output_ms: float


@dataclass(frozen=True, slots=True)
class Resources:
    """What the server's processes used.

    `rss_bytes` is the peak of the sum of resident memory, which counts shared pages once per
    process; `pss_bytes` shares them out, None where that is not readable.
    """

    processes: int
    cores: float
    cpu_seconds_per_1000_requests: float | None
    rss_bytes: int
    pss_bytes: int | None


@dataclass(frozen=True, slots=True)
class ClientSide:
    """What the client processes did.

    `cores` is what the busiest one used. `late_ms` is the 99th percentile of how much later than
    scheduled an open loop sent, `unsent` what it could not send at all. `limit` says why the client
    was the limit, None where it was not: then the figures are not the server's.
    """

    transport: Literal["core", "aio"]
    processes: int
    cores: float
    late_ms: float
    unsent: int
    limit: str | None


@dataclass(frozen=True, slots=True)
class StepResult:
    """One load of the sweep: `concurrency` of a closed loop, or `rate` of an open one.

    `answered` and `errors` count requests meant to be sent in the `seconds` measured; `throughput`
    and `rows_per_second` are of answers that came in that time. `latency_ms` is None where none did.
    `machine_limit` says why the machine was the limit that client and server share, None where it
    was not, or where the server's CPU time is not known.
    """

    concurrency: int | None
    rate: float | None
    seconds: float
    answered: int
    failed: int
    throughput: float
    rows_per_second: float
    latency_ms: LatencyMs | None
    errors: tuple[ErrorCount, ...]
    server: ServerSide | None
    resources: Resources | None
    client: ClientSide
    machine_limit: str | None = None

    @property
    def limited(self) -> bool:
        """Whether the figures are less than the server's own."""
        return self.client.limit is not None or self.machine_limit is not None

    @property
    def label(self) -> str:
        """The load in short, for people."""
        if self.rate is not None:
            return f"{self.rate:g}/s"
        return str(self.concurrency)


@dataclass(frozen=True, slots=True)
class Result:
    """A whole run; `started` is ISO 8601 in UTC, `notes` say what could not be measured and why."""

    schema: Literal[1]
    started: str
    interrupted: bool
    machine: Machine
    target: Target
    settings: Settings
    steps: tuple[StepResult, ...]
    notes: tuple[str, ...]

    @property
    def answered(self) -> int:
        """Requests answered in all steps."""
        return sum(step.answered for step in self.steps)

    @property
    def first_error(self) -> ErrorCount | None:
        """The most frequent error of the first step that had any."""
        return next((step.errors[0] for step in self.steps if step.errors), None)


def settings_of(plan: Plan) -> Settings:
    """The plan as the result tells it."""
    return Settings(
        mode="stream" if plan.stream else "unary",
        duration=plan.duration,
        warm_up=plan.warm_up,
        timeout=plan.timeout,
        arrivals=plan.arrivals,
        seed=plan.seed,
        connections=plan.connections,
        processes=plan.processes,
    )


def to_json(result: Result) -> bytes:
    """The result as a JSON document, indented."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def from_json(document: bytes) -> Result:
    """The result that `to_json` wrote; raises `msgspec.ValidationError` for anything else."""
    return msgspec.json.decode(document, type=Result)
