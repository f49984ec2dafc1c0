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

    `last_inference` is in milliseconds since the epoch.
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
    responses: tuple[ResponseCounts, ...] = ()
