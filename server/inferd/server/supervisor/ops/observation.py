"""The server at one moment, as its metrics and its status show it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from inferd.core.link.messages import (
    MemoryReport,
    MethodCounts,
    VersionCounts,
    VersionLoad,
    VersionState,
)
from inferd.core.telemetry.lag import Lag
from inferd.server.supervisor.gateways.doors import COUNTS_BOUND, Doors
from inferd.server.supervisor.library import Library
from inferd.server.supervisor.replicas.instance import Phase
from inferd.server.supervisor.resources.readings import Readings
from inferd.server.supervisor.resources.resources import Reading

NOTHING_READ = Reading((), {})

_MARGIN = 0.1
"""Seconds beyond a round of questions, which is bounded itself."""

TICK = 1.0
"""Seconds between two looks at how late the event loop comes round."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker: `instance` tells those of a version apart, `up` whether requests reach it.

    `memory` is what torch holds of its GPU, where it has one.
    """

    model: str
    version: int
    instance: int
    device: str
    up: bool
    phase: Phase
    pid: int | None
    memory: MemoryReport | None = None


@dataclass(frozen=True, slots=True)
class GatewayView:
    """One gateway: `lag` in seconds, None where it has not told."""

    name: str
    up: bool
    pid: int | None
    lag: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen, and in how many `seconds`. `lag` is the supervisor's own, in seconds.

    The `reading` is empty where it was not to be had in time.
    """

    counts: tuple[VersionCounts, ...]
    loads: tuple[VersionLoad, ...]
    calls: tuple[MethodCounts, ...]
    states: tuple[tuple[str, VersionState], ...]
    workers: tuple[WorkerView, ...]
    gateways: tuple[GatewayView, ...]
    lag: float
    seconds: float
    reading: Reading = NOTHING_READ


class Observer:
    """Asks the gateways and looks around. Takes a second or so at most, whoever hangs."""

    def __init__(
        self,
        doors: Doors,
        library: Library,
        readings: Readings,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._doors = doors
        self._library = library
        self._readings = readings
        self._now = now
        self._lag = Lag()

    async def observe(self) -> Observation:
        """The server as it is now; counts of gateways that do not answer as they told them last."""
        began = self._now()
        counts, reading = await asyncio.gather(self._counts(), self.reading())
        census = self._doors.census
        catalogue = self._library.catalogue
        return Observation(
            counts=tuple(counts),
            loads=tuple(_added_up(census.loads())),
            calls=tuple(census.calls()),
            states=tuple(
                (model, state)
                for model in catalogue.models()
                for state in catalogue.versions(model)
                if state.version  # a model without a valid version has none to speak of
            ),
            workers=tuple(self._workers()),
            gateways=tuple(self._gateways()),
            lag=self._lag.worst,
            seconds=self._now() - began,
            reading=reading,
        )

    async def _counts(self) -> Iterable[VersionCounts]:
        try:
            # Whoever comes while others ask waits for the next round: not for two that hang.
            async with asyncio.timeout(COUNTS_BOUND + _MARGIN):
                return await self._doors.counts()
        except TimeoutError:
            return self.reported()

    def reported(self) -> Iterable[VersionCounts]:
        """Counts as gateways told them last, a second ago at most; nobody is asked."""
        return self._doors.census.total()

    async def reading(self) -> Reading:
        """What this server's processes and the machine's GPUs use, not older than a second."""
        found = {each.pid for each in self._workers()} | {each.pid for each in self._gateways()}
        pids = (pid for pid in {os.getpid(), *found} if pid is not None)
        return await self._readings.recent(pids) or NOTHING_READ

    def addresses(self) -> Mapping[str, str | None]:
        """Where gateways listen, HOST:PORT for `grpc` and `http`; None where they do not yet."""
        door = next(iter(self._doors))
        told = {"grpc": door.address, "http": door.http}
        # Port 0 is what was asked for, as long as no gateway has said what it got.
        return {name: None if at and at.endswith(":0") else at for name, at in told.items()}

    async def watch_loop(self) -> None:
        """Note how late the event loop comes round, for as long as it runs."""
        while True:
            due = self._now() + TICK
            await asyncio.sleep(TICK)
            self._lag.note(self._now() - due)

    def _workers(self) -> Iterable[WorkerView]:
        numbers: dict[tuple[str, int], int] = {}
        # Oldest first: while a version is replaced the workers of both are there, and those that
        # serve must keep their numbers, or their CPU time would seem to jump.
        for deployment in sorted(self._library.alive, key=lambda each: each.number):
            key = deployment.source.name, deployment.source.version
            for replica in deployment.replicas:
                number = numbers[key] = numbers.get(key, -1) + 1
                up = replica.phase is Phase.ATTACHED
                device = replica.pinning.device
                yield WorkerView(
                    *key, number, device, up, replica.phase, replica.pid, replica.memory
                )

    def _gateways(self) -> Iterable[GatewayView]:
        for door in self._doors:
            state = self._doors.census.state(door)
            yield GatewayView(door.name, door.up, door.pid, state.lag if state else None)


def _added_up(loads: Iterable[VersionLoad]) -> Iterable[VersionLoad]:
    """One for each version, over gateways and deployments."""
    sums: dict[tuple[str, int], VersionLoad] = {}
    for load in loads:
        key = load.model, load.version
        if (known := sums.get(key)) is not None:
            load = VersionLoad(  # noqa: PLW2901
                *key,
                known.queued + load.queued,
                max(known.age, load.age),
                known.in_flight + load.in_flight,
            )
        sums[key] = load
    return sums.values()
