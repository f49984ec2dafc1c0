"""The background work of one deployment: what waits of it, given out as its pace allows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from inferd.server.gateway.scheduling.background.pace import Pace
from inferd.server.gateway.scheduling.background.queue import BackgroundQueue
from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.queue import Batch


class Background:
    """Asked only when no ordinary request waits. Not thread-safe, as its deployment."""

    def __init__(self, *, max_batch_bytes: int, steps: bool) -> None:
        """With `steps` several executions may be asked for in one message."""
        self.queue = BackgroundQueue(max_batch_bytes=max_batch_bytes)
        self.pace = Pace()
        self._steps = steps
        self._looked = 0.0

    def take(self, instance: Instance, instances: Sequence[Instance], now: float) -> Batch | None:
        """The batch that the instance is to run now, or None."""
        self._looked = now
        if not self.queue.size:
            return None
        if not self.pace.alive(now):
            if not instance.takes_full:
                return None
            return self.queue.take(now, executions=self.pace.executions if self._steps else 1)
        # Where there are several instances, one stays free for whoever comes next.
        idle = sum(1 for each in instances if not each.outstanding)
        rows = self.pace.slice(now)
        if instance.outstanding or not rows or idle < min(2, len(instances)):
            return None
        batch = self.queue.take(now, rows=rows)
        if batch is not None:
            batch.is_slice = True
        return batch

    def concluded(self, batch: Batch, now: float, durations: tuple[int, int, int]) -> None:
        """A batch has ended well; `durations` in nanoseconds."""
        took, busy = now - batch.taken, sum(durations) / 1e9
        if batch.is_slice:
            self.pace.concluded_slice(now, max(1, batch.rows), took, busy)
        else:
            self.pace.concluded(now, batch.rows, batch.executions, took, busy)

    def next_event(self) -> float:
        """When to look again without a new request."""
        if not self.queue.size:
            return inf
        event, due = self.queue.next_event(), self.pace.next_slice()
        # Seen from when it last looked: what has come due since is still to be given away.
        return min(event, due) if due > self._looked and self.pace.alive(self._looked) else event
