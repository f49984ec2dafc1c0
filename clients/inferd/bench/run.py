"""A run: every step of the plan in turn, made by the fleet and observed at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Protocol

from inferd.bench.fleet.crew import Attempt, Crew
from inferd.bench.fleet.fleet import Fleet, Loaded
from inferd.bench.machine import this_machine, usable_cores, usable_cpus
from inferd.bench.observed.footprint import Footprint
from inferd.bench.observed.served import Served, served
from inferd.bench.orders import Connect, Load
from inferd.bench.plan import Closed, Plan, Step
from inferd.bench.result import Result, StepResult, settings_of
from inferd.bench.samples import measure
from inferd.bench.step import Window, step_result
from inferd.bench.subject import Subject

_LEAD = 0.05
"""Seconds between an order and the begin of its load: all processes have it by then."""

_SAMPLED_EVERY = 0.5


class Watcher(Protocol):
    """Who is told how far the run is."""

    def step_begins(self, at: int, step: Step, processes: int) -> None:
        """Step number `at` begins, or begins again with more processes."""

    def counted(self, answered: int, failed: int) -> None:
        """Requests of this step that ended so far."""

    def step_ends(self, at: int, result: StepResult) -> None:
        """Step number `at` is measured."""


class Run:
    """Carries out a plan, once."""

    def __init__(self, plan: Plan, subject: Subject, watcher: Watcher) -> None:
        self._plan = plan
        self._subject = subject
        self._watcher = watcher
        self._stopped = asyncio.Event()
        self._fleet: Fleet | None = None
        self._crew = Crew(plan.processes, usable_cores())

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the step under way: the result has what was measured up to now."""
        self._stopped.set()
        if self._fleet is not None:
            self._fleet.stop()

    async def conduct(self) -> Result:
        """All steps, until one has no answer at all or the run is stopped; raises `FleetError`."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        steps: list[StepResult] = []
        async with self._manned() as (fleet, folder):
            for at, step in enumerate(self._plan.steps):
                result = await self._settle(fleet, folder, at, step)
                if result is not None:
                    steps.append(result)
                    self._watcher.step_ends(at, result)
                if self._stopped.is_set() or result is None or not result.answered:
                    break
        return self._result(started, steps)

    @asynccontextmanager
    async def _manned(self) -> AsyncIterator[tuple[Fleet, Path]]:
        with TemporaryDirectory(prefix="inferd-bench-") as name:
            folder = Path(name)
            payload = folder / "request"
            payload.write_bytes(self._subject.payload.request)
            plan = self._plan
            connect = Connect(
                address=self._subject.address,
                payload=str(payload),
                connections=plan.connections,
                stream=plan.stream,
                transport=plan.transport,
            )
            async with Fleet(connect, folder) as fleet:
                self._fleet = fleet
                yield fleet, folder

    async def _settle(self, fleet: Fleet, folder: Path, at: int, step: Step) -> StepResult | None:
        """The step's result, with more processes where that helped."""
        most = step.concurrency if isinstance(step, Closed) else usable_cores()
        result = await self._step(fleet, folder, at, step, self._crew.size(most))
        while result is not None:
            made = _attempt(result)
            count = self._crew.more(made, most)
            tried = await self._step(fleet, folder, at, step, count) if count else None
            if tried is None or not self._crew.keeps(_attempt(tried), made):
                break
            result = tried
        return result

    async def _step(
        self, fleet: Fleet, folder: Path, at: int, step: Step, processes: int
    ) -> StepResult | None:
        """One load; None where it was stopped before anything was measured."""
        if self._stopped.is_set():
            return None
        await fleet.grow(processes)
        self._watcher.step_begins(at, step, processes)
        begin = monotonic() + _LEAD
        start = begin + self._plan.warm_up
        orders = [
            self._order(step, begin, seed=at, part=part, parts=processes, folder=folder)
            for part in range(processes)
        ]
        ended = asyncio.Event()
        watch = asyncio.create_task(self._observe(start, orders[0].end, ended))
        try:
            loaded = await fleet.load(orders, self._watcher.counted)
            ended.set()
            seen = await watch
        finally:
            watch.cancel()
        window = _window(loaded, begin, start, orders[0].end)
        if self._stopped.is_set() and window.begin < start:
            return None
        return step_result(
            step,
            measure(loaded.samples, window.begin, window.end),
            loaded.reports,
            rows=self._subject.payload.rows,
            transport=fleet.transport,
            seen=seen.served,
            footprint=seen.footprint,
            cpus=usable_cpus(),
        )

    def _order(
        self, step: Step, begin: float, *, seed: int, part: int, parts: int, folder: Path
    ) -> Load:
        plan = self._plan
        start = begin + plan.warm_up
        callers, rate = (step.concurrency, 0.0) if isinstance(step, Closed) else (0, step.rate)
        return Load(
            begin=begin,
            measure=start,
            end=start + plan.duration,
            timeout=plan.timeout,
            file=str(folder / f"samples-{part}"),
            callers=len(range(part, callers, parts)),
            rate=rate,
            arrivals=plan.arrivals,
            seed=(plan.seed, seed),
            part=part,
            parts=parts,
        )

    async def _observe(self, begin: float, end: float, ended: asyncio.Event) -> _Seen:
        """What the server did between two times, or until the load has ended before."""
        subject = self._subject
        await _wait(ended, begin - monotonic())
        if ended.is_set():
            return _Seen()
        before = await asyncio.to_thread(subject.statistics)
        watch = subject.tree.watch() if subject.tree is not None else None
        while (left := end - monotonic()) > 0 and not ended.is_set():
            await _wait(ended, min(left, _SAMPLED_EVERY))
            if watch is not None:
                watch.sample()
        if watch is not None:
            watch.close()
        after = await asyncio.to_thread(subject.statistics)
        await ended.wait()  # the answers still due are not to be disturbed
        return _Seen(served(before, after), watch.footprint() if watch is not None else None)

    def _result(self, started: str, steps: list[StepResult]) -> Result:
        return Result(
            schema=1,
            started=started,
            interrupted=self._stopped.is_set(),
            machine=this_machine(),
            target=self._subject.target(),
            settings=settings_of(self._plan),
            steps=tuple(steps),
            notes=tuple(self._subject.notes),
        )


def _attempt(result: StepResult) -> Attempt:
    client = result.client
    limited = client.limit is not None
    return Attempt(client.processes, client.cores, result.throughput, limited)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most this long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()


@dataclass(frozen=True, slots=True)
class _Seen:
    served: Served | None = None
    footprint: Footprint | None = None


def _window(loaded: Loaded, begin: float, start: float, end: float) -> Window:
    """The measured part of a load; all of it where it ended in its warm-up."""
    ended = min(end, max(report.ended for report in loaded.reports))
    return Window(start, ended) if ended > start else Window(begin, ended)
