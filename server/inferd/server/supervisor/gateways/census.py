"""What all gateways have counted, those that are no more included."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from inferd.core.link.messages import MethodCounts, StateReport, VersionCounts, VersionLoad
from inferd.core.telemetry.counts import Calls, Counts


class Census:
    """Keeps every gateway's last report, and the sum of those that ended."""

    def __init__(self) -> None:
        self._living: dict[Hashable, Counts] = {}
        self._past = Counts()
        self._states: dict[Hashable, StateReport] = {}
        self._past_calls = Calls()

    def reported(self, gateway: Hashable, counts: Iterable[VersionCounts]) -> None:
        """A gateway tells its totals, of what has changed since it told them last."""
        self._living.setdefault(gateway, Counts()).update(counts)

    def fares(self, gateway: Hashable, state: StateReport) -> None:
        """A gateway tells what it holds and its totals of calls."""
        self._states[gateway] = state

    def left(self, gateway: Hashable) -> None:
        """A gateway is gone: what it reported stays, and its successor starts from zero."""
        self._past.add(self._living.pop(gateway, ()))
        if (state := self._states.pop(gateway, None)) is not None:
            self._past_calls.add(state.calls)

    def state(self, gateway: Hashable) -> StateReport | None:
        """The last that a living gateway told."""
        return self._states.get(gateway)

    def calls(self) -> Iterator[MethodCounts]:
        """All calls that were reported, by method and status code."""
        calls = Calls()
        calls.add(self._past_calls)
        for state in self._states.values():
            calls.add(state.calls)
        return iter(calls)

    def loads(self) -> Iterator[VersionLoad]:
        """What the gateways hold now, version by version; some of them several times."""
        return (load for state in self._states.values() for load in state.loads)

    def total(self, without: Hashable = None) -> Counts:
        """The sum as far as it is known; `without` leaves one living gateway out."""
        total = Counts()
        total.add(self._past)
        for gateway, counts in self._living.items():
            if gateway is not without:
                total.add(counts)
        return total
