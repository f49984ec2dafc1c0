"""What a server tells of itself at `/status`: the one document that `inferd status` and `top` read.

Seconds, bytes and watts throughout. None, null in JSON, stands for what is not known or what nothing has
been measured of. Fields may be added under the same schema; a changed meaning is another schema.
"""

from __future__ import annotations

import msgspec

SCHEMA = 1
"""Of the documents described here."""


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server listens, HOST:PORT each; None where it does not, or not yet."""

    grpc: str | None
    http: str | None
    ops: str | None


class ProcessUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one process uses. `cpu_seconds` only grow, for as long as the process lives.

    `cpu` is CPU seconds per second over the window, so 1.0 is one core. `memory_bytes` has shared parts
    divided among those that share them, where the kernel tells; else they count in full.
    """

    pid: int
    cpu_seconds: float | None = None
    cpu: float | None = None
    memory_bytes: int | None = None


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The server. `started` is in seconds since the epoch, `uptime` in seconds.

    `reason` says why it takes no requests, and is empty if it does. `unmatched` counts requests that
    reached no model. `supervisor` is the process that answers, `lag_seconds` how late its rounds came lately.
    """

    version: str
    started: float
    uptime: float
    ready: bool
    reason: str
    addresses: Addresses
    supervisor: ProcessUse
    unmatched: int = 0
    lag_seconds: float | None = None


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway: whether it takes calls, how often it was lost and started again.

    `lag_seconds` is how late its rounds came lately, `use` None while it has no process.
    """

    name: str
    up: bool
    restarts: int
    lag_seconds: float | None = None
    use: ProcessUse | None = None


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker: `instance` tells those of a version apart, `up` whether requests reach it.

    `phase` is where it is on its way: new, loading, loaded, attached, waiting (lost, to be started
    again), stopping, stopped, failed. `gpu_memory_bytes` is over all GPUs.
    """

    instance: int
    device: str
    up: bool
    phase: str
    use: ProcessUse | None = None
    gpu_memory_bytes: int | None = None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the server started; they only grow.

    `requests` have ended: `answered`, with `errors` that are the server's own (overload, expired,
    unavailable, failed), as `invalid` by the caller's mistake, or `cancelled`. `seconds` are the answered
    ones' times added up, from arrival to answer; `buckets` how many of them took up to each of the
    document's `bounds` and, last, longer (empty for none). `rows` were executed in `batches`.
    """

    answered: int = 0
    errors: int = 0
    invalid: int = 0
    cancelled: int = 0
    rows: int = 0
    batches: int = 0
    seconds: float = 0.0
    buckets: tuple[int, ...] = ()

    @property
    def requests(self) -> int:
        """All that have ended."""
        return self.answered + self.errors + self.invalid + self.cancelled


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What `Totals` come to over the window.

    `error_share` is of all requests but invalid and cancelled ones. Times are of answered requests, from
    arrival to answer. p50, p95 and p99 are estimates: within the bucket that they fall into, requests
    are taken to lie evenly, as Prometheus' histogram_quantile does; beyond the last bound they are that
    bound. `speed` is 1 / mean: the requests per second of one caller who waits for each answer.
    """

    requests_per_second: float = 0.0
    errors_per_second: float = 0.0
    rows_per_second: float = 0.0
    error_share: float | None = None
    mean_seconds: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None
    batch_rows: float | None = None
    speed: float | None = None


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a version's workers use together. `cpu` is CPU seconds per second over the window.

    `watts` is the power, over the window, of GPUs that no other process holds memory of: what several
    share cannot be told apart.
    """

    cpu: float | None = None
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    watts: float | None = None


class VersionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model: `up` of `instances` workers take requests, each lost and started again
    `restarts` times in all, by cause.

    `queued` requests wait, the oldest for `queue_age` seconds; workers are executing `in_flight`. Its
    three figures are `figures.speed`, `consumption` and `accuracy`, which takes feedback and is None.
    """

    model: str
    version: int
    state: str
    reason: str
    up: int
    instances: int
    devices: tuple[str, ...]
    restarts: dict[str, int]
    queued: int
    queue_age: float
    in_flight: int
    figures: Figures
    consumption: Consumption
    totals: Totals
    workers: tuple[WorkerStatus, ...]
    accuracy: float | None = None


class GpuStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. `utilization` is from 0 to 1, `temperature` in degrees Celsius, energy only grows.

    `pids` are the processes that hold memory on it, whoever's they are. A `lost` one does not answer its
    driver any more.
    """

    index: int
    uuid: str
    name: str
    lost: bool = False
    memory_used: int | None = None
    memory_total: int | None = None
    utilization: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    temperature: float | None = None
    pids: tuple[int, ...] = ()


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `window` is the length in seconds of what rates and times are taken over.

    `read_at` is the uptime at which processes and GPUs were read, up to a second ago; None if they could
    not be. `bounds` are the upper bounds in seconds of all `buckets`.
    """

    schema: int = SCHEMA
    window: float
    read_at: float | None = None
    bounds: tuple[float, ...]
    server: ServerStatus
    gateways: tuple[GatewayStatus, ...]
    models: tuple[VersionStatus, ...]
    gpus: tuple[GpuStatus, ...]
