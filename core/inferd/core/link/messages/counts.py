"""What was counted of a model version, on its way between a gateway and the supervisor."""

from __future__ import annotations

import msgspec


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """How often, and for how many nanoseconds in all."""

    count: int = 0
    ns: int = 0


class BatchCounts(msgspec.Struct, frozen=True, array_like=True):
    """The executions of one batch size."""

    compute_input: Spent = Spent()
    compute_infer: Spent = Spent()
    compute_output: Spent = Spent()


Buckets = tuple[int, ...]
"""How many lasted up to each of `metrics.SECONDS` and, last, longer; empty stands for none."""


class Sorted(msgspec.Struct, frozen=True, array_like=True):
    """Answered requests by how long they took, in all and in each stage."""

    total: Buckets = ()
    queue: Buckets = ()
    compute_input: Buckets = ()
    compute_infer: Buckets = ()
    compute_output: Buckets = ()


class Exemplar(msgspec.Struct, frozen=True, array_like=True):
    """One traced request: its trace, how many seconds it took, and when it ended since the epoch."""

    trace_id: str
    seconds: float
    epoch: float


class ResponseCounts(msgspec.Struct, frozen=True, array_like=True):
    """The answers of one index to requests of a model that yields."""

    compute_infer: Spent = Spent()
    compute_output: Spent = Spent()
    success: Spent = Spent()
    fail: Spent = Spent()
    empty_response: Spent = Spent()
    cancel: Spent = Spent()


class VersionCounts(msgspec.Struct, frozen=True, array_like=True):
    """Counts of one model version, which only grow; `batches` by rows, `responses` by index.

    `last_inference` is in milliseconds since the epoch. `errors` are failed requests by reason,
    `received` and `sent` bytes of inputs and outputs. Requests that reached no model are counted
    under an empty name. `exemplar` is the last request that was traced.
    """

    model: str
    version: int
    inference_count: int = 0
    execution_count: int = 0
    last_inference: int = 0
    success: Spent = Spent()
    fail: Spent = Spent()
    queue: Spent = Spent()
    compute_input: Spent = Spent()
    compute_infer: Spent = Spent()
    compute_output: Spent = Spent()
    batches: dict[int, BatchCounts] = {}
    cancelled: int = 0
    errors: dict[str, int] = {}
    received: int = 0
    sent: int = 0
    buckets: Sorted = Sorted()
    exemplar: Exemplar | None = None
    responses: tuple[ResponseCounts, ...] = ()


class VersionLoad(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway holds of a version now: requests that wait, the oldest's seconds, in flight."""

    model: str
    version: int
    queued: int
    age: float
    in_flight: int


class MethodCounts(msgspec.Struct, frozen=True, array_like=True):
    """Calls of one method that ended with one status code, and how long they took."""

    method: str
    code: str
    spent: Spent = Spent()
    buckets: Buckets = ()
