"""Requests that wait until their deadlines pass. Decides only: no I/O, no clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import inf

from inferd.server.gateway.scheduling.pending import Pending, Piece


class Expiring(ABC):
    """What queues share: which of their requests still wait, and which do so in vain.

    `_earliest_deadline` is never later than that of any request that waits.
    """

    def __init__(self) -> None:
        self._earliest_deadline = inf
        self.size = 0
        """Requests of which at least one piece waits."""

    def expire(self, now: float) -> list[Pending]:
        """The requests whose deadline has passed, for the caller to fail and `forget`."""
        if now < self._earliest_deadline:
            return []
        living = self._living()
        self._earliest_deadline = min(
            (each.deadline for each in living if each.deadline > now), default=inf
        )
        return [each for each in living if each.deadline <= now]

    def clear(self) -> list[Pending]:
        """Empty the queue; what waited is for the caller to fail and `forget`."""
        living = self._living()
        self._drop_all()
        self._earliest_deadline = inf
        return living

    @abstractmethod
    def _pieces(self) -> Iterator[Piece]:
        """Everything that waits, and maybe pieces of requests that are settled."""

    @abstractmethod
    def _drop_all(self) -> None:
        """Have no pieces any more."""

    def _living(self) -> list[Pending]:
        # A dictionary, for a request that was split waits in several pieces.
        living = {
            id(piece.pending): piece.pending
            for piece in self._pieces()
            if not piece.pending.settled
        }
        return list(living.values())
