"""The rounds: every contender in turn, as often as asked, under the same load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil
from affinity import two_cores
from check import WrongAnswer, check_answer
from drivers.driver import Driver, DriverError
from load import Load, LoadError, LoadResult, warm_up
from scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender. CPU time is that of the server's whole process tree."""

    requests: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    server_cpu_us: float  # per request


@dataclass(slots=True)
class Results:
    """Samples by scenario and contender, in the order measured, and why others are missing."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Comparison:
    """Starts all contenders, then lets the load go from one to the next."""

    def __init__(
        self,
        load: Load,
        *,
        rounds: int,
        seconds: float,
        pin: bool,
        say: Callable[[str], None],
    ) -> None:
        """`seconds` is about how long one sample takes; `say` hears of the progress.

        Raises `DriverError` where servers and load are to be pinned and there is only one core.
        """
        self._load = load
        self._rounds = rounds
        self._seconds = seconds
        self._say = say
        self._server_cpu: int | None = None
        self._load_cpu: int | None = None
        if pin:
            cores = two_cores()
            if cores is None:
                raise DriverError(
                    "this process may use one core only, but the servers and the load each need "
                    "one of their own; give it two, or take --unpinned"
                )
            self._server_cpu, self._load_cpu = cores

    def run(self, drivers: Sequence[Driver], scenarios: Sequence[Scenario]) -> Results:
        """Measure; a contender that fails is reported as missing, the others go on."""
        results = Results()
        with ExitStack() as running:
            addresses: dict[str, str] = {}
            for driver in drivers:
                self._say(f"starting {driver.name}")
                try:
                    addresses[driver.name] = driver.start(self._server_cpu)
                except DriverError as error:
                    self._miss(results, driver.name, str(error))
                    continue
                running.callback(driver.stop)
            for scenario in scenarios:
                results.samples[scenario.name] = {}
                started = [each for each in drivers if each.name in addresses]
                self._measure(scenario, started, addresses, results)
        return results

    def _measure(
        self,
        scenario: Scenario,
        drivers: Sequence[Driver],
        addresses: dict[str, str],
        results: Results,
    ) -> None:
        steps: list[_Step] = []
        for driver in drivers:
            self._say(f"{scenario.title}: warming up {driver.name}")
            step = _Step(driver, addresses[driver.name], scenario, self._load, self._load_cpu)
            try:
                step.prepare(self._seconds)
            except (DriverError, WrongAnswer, LoadError) as error:
                self._miss(results, driver.name, _told(scenario, driver, error))
                continue
            steps.append(step)
        for turn in range(self._rounds):
            # Whoever comes first in one round comes last in the next: what else the machine does
            # then weighs on all alike.
            start = turn % max(1, len(steps))
            for step in steps[start:] + steps[:start]:
                name = step.driver.name
                try:
                    sample = step.sample()
                except (DriverError, LoadError) as error:
                    # Rounds are compared one by one, so a contender has all of them or none.
                    steps.remove(step)
                    results.samples[scenario.name].pop(name, None)
                    self._miss(results, name, _told(scenario, step.driver, error))
                    continue
                results.samples[scenario.name].setdefault(name, []).append(sample)
                self._say(
                    f"{scenario.title}: round {turn + 1} of {self._rounds}, {name}: "
                    f"{sample.requests_per_second:,.0f} requests/s"
                )

    def _miss(self, results: Results, name: str, reason: str) -> None:
        results.missing.setdefault(name, reason)  # later ones follow from the first
        self._say(f"{name} is not measured: {reason}")


class _Step:
    """One contender under one scenario."""

    def __init__(
        self, driver: Driver, address: str, scenario: Scenario, load: Load, cpu: int | None
    ) -> None:
        self.driver = driver
        self._address = address
        self._scenario = scenario
        self._load = load
        self._cpu = cpu
        self._answer = 0
        self._requests = 0

    def prepare(self, seconds: float) -> None:
        """Check an answer, warm up, find how many requests take `seconds`."""
        self._answer = check_answer(self._address, self._scenario)
        rate = warm_up(self._run, self._scenario.callers, seconds)
        self._requests = max(self._scenario.callers, int(rate * seconds))

    def sample(self) -> Sample:
        """One timed run."""
        before = _cpu_seconds(self.driver)
        result = self._run(self._requests)
        spent = _cpu_seconds(self.driver) - before
        return Sample(
            requests=result.requests,
            requests_per_second=result.requests_per_second,
            p50_us=_percentile(result.latencies, 50),
            p99_us=_percentile(result.latencies, 99),
            server_cpu_us=spent / result.requests * 1e6,
        )

    def _run(self, requests: int) -> LoadResult:
        return self._load.run(
            self._address, self._scenario, requests=requests, answer=self._answer, cpu=self._cpu
        )


def _percentile(ascending: Sequence[int], percent: int) -> float:
    return float(ascending[min(len(ascending) - 1, len(ascending) * percent // 100)])


def _cpu_seconds(driver: Driver) -> float:
    """User and system time of a server's process tree so far. Raises `DriverError`."""
    total = 0.0
    try:
        root = psutil.Process(driver.pid)
        for process in (root, *root.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
    except psutil.NoSuchProcess as error:
        raise DriverError(f"a process of the server is gone: {error}") from error
    return total


def _told(scenario: Scenario, driver: Driver, error: Exception) -> str:
    end = driver.ended()
    return f"{scenario.title}: {error}" + (f"; its process {end}" if end else "")
