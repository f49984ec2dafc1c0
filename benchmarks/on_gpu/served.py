"""`inferd serve` of the model, with load from several generators at a time."""

from __future__ import annotations

import os
import resource
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contenders.contender import ContenderError, percentile
from contenders.ours import ROLES
from contenders.server import Launch, Server
from load import Calls, H2load, Load, LoadError, read_times
from prometheus_client.parser import text_string_to_metric_families
from scenarios import Scenario
from wires.call import CallFailed, Floats, WrongAnswer, call
from wires.exchange import infer

from on_gpu.resnet import DATATYPES, Task

STAGES = ("input", "compute", "output")
"""What a batch goes through on the device, as the metrics call it."""

_START_LIMIT = 120.0
_LOOK_INTERVAL = 0.1
_PATIENCE = 60.0
"""Seconds that one run of the generators may take."""
_WARM_UP = 8
"""Requests of each caller, at first."""
_WARM_UPS, _WARM_UP_SECONDS = 2, 1.0
"""Then so often for so long: each new size of batch makes the GPU's library choose anew, once."""
_SETTLE = 0.15
"""Share of a sample's seconds with requests sent uncounted before it: a paused server's caches are cold."""
_TOLERANCE = 5e-2
"""Of bfloat16, with other kernels for other sizes of batch."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Who calls: `callers` in all, from `loads` generators with so many connections each."""

    callers: int
    loads: int
    connections: int

    def scenario(self, task: Task) -> Scenario:
        """What one generator does."""
        callers = self.callers // self.loads
        shape = (1, *task.row)
        return Scenario(task.name, task.name, shape, callers, self.connections, task.name)


@dataclass(frozen=True, slots=True)
class ServedSample:
    """One sample. `batch` is the mean number of images, `stage_ms` what an image's batch took in each stage.

    Both are None where the metrics could not be read. `cores` were kept busy by the processes of each role,
    and by the generators.
    """

    images_per_second: float
    p50_ms: float
    p99_ms: float
    batch: float | None
    stage_ms: dict[str, float] | None
    cores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all servers have in common; `model` is the folder of the exported program."""

    task: Task
    model: Path
    device: str
    demand: Demand


class Served:
    """A server; paused whenever it is not its turn."""

    def __init__(self, setting: Setting, gateways: int, traces: str | None = None) -> None:
        """`traces` is where the spans of a tenth of the requests go."""
        task, demand = setting.task, setting.demand
        self._server = Server(f"inferd with {gateways} gateways", ROLES)
        self._ops = f"127.0.0.1:{self._server.ports['port2']}"
        datatype, _ = DATATYPES[task.input]
        scenario = demand.scenario(task)
        self._exchange = infer(task.name, scenario.shape, task.values(1), datatype=datatype)
        self._scenario = scenario
        self._loads: list[tuple[H2load, Path]] = []
        for number in range(demand.loads):
            # A folder each: they read the same request, but from files that nobody writes meanwhile.
            own = self._server.folder / f"load-{number}"
            own.mkdir()
            self._loads.append((H2load(own), own / "h2load.log"))
        self._answer = 0
        self._rate = 0.0
        command = [str(Path(sys.executable).with_name("inferd")), "serve", str(setting.model)]
        command += ["--grpc", self._server.address, "--http", "off", "--ops", self._ops]
        command += [
            "--device",
            setting.device,
            "--gateways",
            str(gateways),
            "--log-level",
            "warning",
        ]
        # Where the driver or torch is found by them, the server must find it, too.
        environment = {
            name: os.environ[name]
            for name in ("LD_LIBRARY_PATH", "PYTHONPATH")
            if name in os.environ
        }
        if traces is not None:
            command += ["--tracing", "otlp", "--trace-sampling", "0.1"]
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = traces
        self._launch = Launch(command, environment)

    def start(self, expected: Floats) -> None:
        """Start, wait for the right answer, warm up, pause. Raises `ContenderError`."""
        self._server.start(self._launch, None)
        self._answer = self._first_answer(expected)
        calls = _WARM_UP * self._scenario.callers
        self._run(calls)
        for _ in range(_WARM_UPS):  # the first tells too low a rate for the second to last as long
            self._run(max(calls, self._of(_WARM_UP_SECONDS)))
        self._server.tree.pause()

    def sample(self, seconds: float) -> ServedSample:
        """Load for about so long. Raises `ContenderError`."""
        tree = self._server.tree
        tree.resume()
        known = self._rate
        self._run(self._of(seconds * _SETTLE))
        # So short a run may tell too low a rate, one before that too.
        self._rate = max(known, self._rate)
        requests = self._of(seconds)
        counted, spent, loaded = self._counts(), tree.role_cpu_seconds(), _cpu_of_children()
        began = time.perf_counter()
        rate, latencies = self._run(requests)
        took = time.perf_counter() - began
        cores = {
            role: (each - spent[role]) / took for role, each in tree.role_cpu_seconds().items()
        }
        cores["load"] = (_cpu_of_children() - loaded) / took
        batch, stages = _per_batch(counted, self._counts())
        tree.pause()
        p50, p99 = (percentile(latencies, each) / 1e3 for each in (50, 99))
        return ServedSample(rate, p50, p99, batch, stages, cores)

    def resume(self) -> None:
        """Let it go on, as after a sample it has something to export."""
        self._server.tree.resume()

    def close(self) -> None:
        """End it. Twice does nothing."""
        self._server.stop()

    def _of(self, seconds: float) -> int:
        """Requests of each generator for about so long."""
        return max(2 * self._scenario.callers, int(self._rate * seconds / len(self._loads)))

    def _run(self, requests: int) -> tuple[float, list[int]]:
        """Answers per second, see `rate_of`, and all latencies in microseconds."""
        exchange, address = self._exchange, self._server.address
        calls = Calls(address, self._scenario, exchange, requests, self._answer, None)
        under_way = [load.begin(calls, log) for load, log in self._loads]
        try:
            _wait(under_way)
        except LoadError as error:
            for each in under_way:
                each.kill()
            end = self._server.ended() or f"says: {self._server.last_words()}"
            raise ContenderError(f"{error}; the server {end}") from error
        runs = [read_times(log) for _, log in self._loads]
        rate, self._rate = rate_of(runs)
        return rate, sorted(end - begin for run in runs for begin, end in run)

    def _first_answer(self, expected: Floats) -> int:
        give_up = time.monotonic() + _START_LIMIT
        while True:
            try:
                body = call(self._server.address, self._exchange)
            except CallFailed as error:
                if end := self._server.ended():
                    raise ContenderError(f"the server {end}") from error
                if time.monotonic() > give_up:
                    raise ContenderError(
                        f"no answer after {_START_LIMIT:.0f} s: {error}; the server's last words: "
                        f"{self._server.last_words()}"
                    ) from error
                time.sleep(_LOOK_INTERVAL)
                continue
            check(np.frombuffer(self._exchange.decode(body), "<f4"), expected)
            return len(body)

    def _counts(self) -> dict[str, float] | None:
        try:
            with urllib.request.urlopen(f"http://{self._ops}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
        except OSError as error:
            print(f"the metrics could not be read: {error}", file=sys.stderr, flush=True)
            return None
        counts: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                name = each.name + each.labels.get("stage", "")
                counts[name] = counts.get(name, 0.0) + each.value
        return counts


def check(answer: Floats, expected: Floats) -> None:
    """Raise `WrongAnswer` for one that is not the bare model's, as far as bfloat16 can tell."""
    if answer.size != expected.size:
        raise WrongAnswer(f"answered {answer.size} numbers, expected {expected.size}")
    if not np.isfinite(answer).all() or not np.isfinite(expected).all():
        raise WrongAnswer("the answer or the bare model's is not finite")
    worst, scale = float(np.abs(answer - expected).max()), float(np.abs(expected).max())
    close = np.allclose(answer, expected, rtol=_TOLERANCE, atol=_TOLERANCE * scale)
    if not close and answer.argmax() != expected.argmax():
        raise WrongAnswer(
            f"the numbers differ from the bare model's by up to {worst:g} of {scale:g}"
        )


def rate_of(runs: Sequence[Sequence[tuple[int, int]]]) -> tuple[float, float]:
    """Answers per second of all generators together: while every one of them ran, and on the whole.

    `runs` are each one's requests by begin and end, in microseconds. For the first figure what comes before
    all have had their first answer, or after one has had its last, is left out; where that is most of the
    time, the first is the second.
    """
    ends = [sorted(end for _, end in run) for run in runs]
    began, ended = min(begin for run in runs for begin, _ in run), max(each[-1] for each in ends)
    on_the_whole = sum(map(len, ends)) / max(1, ended - began) * 1e6
    first, last = max(each[0] for each in ends), min(each[-1] for each in ends)
    if last - first < (ended - began) / 2:
        return on_the_whole, on_the_whole
    count = sum(first < at <= last for each in ends for at in each)
    return count / (last - first) * 1e6, on_the_whole


def _wait(under_way: Sequence[Load]) -> None:
    """For all of them at a time: each has a pipe to be read. Raises `LoadError`."""
    with ThreadPoolExecutor(len(under_way)) as pool:
        if not all(pool.map(lambda each: each.wait(_PATIENCE), under_way)):
            raise LoadError(f"the generators were not done after {_PATIENCE:.0f} s")


def _per_batch(
    before: dict[str, float] | None, after: dict[str, float] | None
) -> tuple[float | None, dict[str, float] | None]:
    if before is None or after is None:
        return None, None

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    batches = grown("inferd_batches_total")
    stage = "inferd_request_stage_seconds"
    stages = {
        each: grown(f"{stage}_sum{each}") / max(1.0, grown(f"{stage}_count{each}")) * 1e3
        for each in STAGES
    }
    return (grown("inferd_rows_total") / batches if batches else None), stages


def _cpu_of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
