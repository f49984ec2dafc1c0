"""A batch with observed requests in it."""

from __future__ import annotations

from collections.abc import Sequence

from inferd.server.gateway.scheduling.observation.request import (
    MOST_BATCHES,
    Durations,
    Observation,
    Trace,
    new_id,
)
from inferd.server.gateway.scheduling.pending import Part, Piece
from inferd.server.gateway.scheduling.queue import Batch
from inferd.wire.errors import ServingError


class ObservedBatch:
    """A batch with observed requests in it. `links` are those that are traced, in the batch's order.

    It has a span if one of them is: `span_id` in the trace of the first, below `part_id`, which is that
    one's part in it. `began` is when its steps did, where the worker said it.
    """

    __slots__ = (
        "began",
        "concluded",
        "device",
        "durations",
        "error",
        "id",
        "instance",
        "links",
        "model",
        "part_id",
        "requests",
        "rows",
        "rows_at_once",
        "span_id",
        "taken",
        "version",
    )

    def __init__(
        self,
        batch: Batch,
        members: Sequence[Observation],
        instance: int,
        device: str,
        name: str,
        *,
        requests: int,
    ) -> None:
        """`name` is that of no other batch of the server, `instance` the index of the one that runs it.

        `members` are those of the batch's `requests` that are observed.
        """
        self.id = name
        self.instance = instance
        self.device = device
        self.rows = batch.rows
        self.rows_at_once = batch.step or batch.rows
        self.requests = requests
        self.taken = batch.taken
        self.concluded = 0.0
        self.began: Durations | None = None
        self.durations: Durations = (0, 0, 0)
        self.error: ServingError | None = None
        self.model, self.version = members[0].model, members[0].version
        self.links: list[Trace] = []
        for each in members:
            if each.trace is not None:
                self.links.append(each.trace)
            each.batch_count += 1
            if len(each.batches) < MOST_BATCHES:
                each.batches.append(self)
        self.part_id, self.span_id = new_id(64), new_id(64)

    @property
    def ids(self) -> bytes | None:
        """What the worker is told: the ids of trace and span; None where no member is traced."""
        if not self.links:
            return None
        return self.links[0].trace_id.to_bytes(16) + self.span_id.to_bytes(8)

    def completed(self, now: float, durations: Durations, began: Durations | None) -> None:
        """It ended well. Its requests are answered after this."""
        self.durations, self.began = durations, began
        self._end(now)

    def failed(self, now: float, error: ServingError) -> None:
        """It ended in an error."""
        self.error = error
        self._end(now)

    def _end(self, now: float) -> None:
        self.concluded = now
        if self.links:
            self.links[0].put(self)


def observe(batch: Batch, instance: int, device: str, name: str) -> ObservedBatch | None:
    """The batch, if any of its requests is observed; asked only where its lane has such requests."""
    requests: Sequence[Piece] = batch.pieces
    if Part in map(type, requests):  # else each request is its own piece
        requests = list(dict.fromkeys([piece.pending for piece in requests]))
    members = list(filter(None, map(batch.lane.observed.get, requests)))
    if not members:
        return None
    return ObservedBatch(batch, members, instance, device, name, requests=len(requests))
