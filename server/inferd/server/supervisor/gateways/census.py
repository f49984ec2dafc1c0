"""What all gateways have counted, those that are no more included."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry.counts import Counts


class Census:
    """Keeps every gateway's last report, and the sum of those that ended."""

    def __init__(self) -> None:
        self._living: dict[Hashable, Counts] = {}
        self._past = Counts()

    def reported(self, gateway: Hashable, counts: Iterable[VersionCounts]) -> None:
        """A gateway tells its totals, of what has changed since it told them last."""
        self._living.setdefault(gateway, Counts()).update(counts)

    def left(self, gateway: Hashable) -> None:
        """A gateway is gone: what it reported stays, and its successor starts from zero."""
        self._past.add(self._living.pop(gateway, ()))

    def total(self, without: Hashable = None) -> Counts:
        """The sum as far as it is known; `without` leaves one living gateway out."""
        total = Counts()
        total.add(self._past)
        for gateway, counts in self._living.items():
            if gateway is not without:
                total.add(counts)
        return total
