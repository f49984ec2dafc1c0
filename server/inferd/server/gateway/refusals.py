"""Requests that are refused before they wait for anything: counted, as all others are."""

from __future__ import annotations

import threading
from time import monotonic

from inferd.server.gateway.routing.table import RoutingTable
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.errors import ServingError

NO_MODEL = ("", 0)
"""Where requests are counted that reach no model."""


class Refusals:
    """Counts each for its model, or for none. Safe from any thread."""

    def __init__(self, lock: threading.Lock, table: RoutingTable) -> None:
        """`lock` is the one that statistics are changed under."""
        self.unrouted = Statistics()
        self._lock = lock
        self._table = table

    def count(self, deployment: Deployment | None, arrived: float, error: ServingError) -> None:
        """A request that came at `arrived`, in monotonic seconds, got this error."""
        statistics = self.unrouted if deployment is None else deployment.statistics
        with self._lock:
            statistics.failed(int((monotonic() - arrived) * 1e9), error.reason)

    def at_the_door(self, model: str, version: str, arrived: float, error: ServingError) -> None:
        """The same for one that its door could not make sense of, by what it calls its model."""
        try:
            deployment = self._table.resolve(model, version)
        except ServingError:
            self.count(None, arrived, error)
        else:
            self.count(deployment, arrived, error)
