"""Requests whose callers are not asked after yet."""

from __future__ import annotations

from collections import deque
from math import inf

from inferd.server.gateway.scheduling.pending import Pending

UNANSWERED = 0.02
"""Seconds after which a request's caller is asked after; asking costs more than a quick answer."""


class Unanswered:
    """Remembers requests in the order of their arrival, to name those that wait for long."""

    def __init__(self) -> None:
        self._young: deque[Pending] = deque()

    def add(self, pending: Pending) -> float:
        """Remember one more; returns when it is to be asked after, in monotonic seconds."""
        self._young.append(pending)
        return pending.arrived + UNANSWERED

    def due(self, now: float) -> list[Pending]:
        """The requests that wait for `UNANSWERED` now and were not named before."""
        young, found = self._young, []
        before = now - UNANSWERED
        while young and (young[0].settled or young[0].arrived <= before):
            pending = young.popleft()
            if not pending.settled:
                found.append(pending)
        return found

    def next_event(self) -> float:
        """When `due` may have something to name."""
        return self._young[0].arrived + UNANSWERED if self._young else inf
