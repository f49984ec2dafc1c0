"""The bare model in a loop in one process: no server, no copies, the limit of what can be served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from affinity import pinned
from scenarios import SCENARIOS, Scenario

from contenders.contender import Conditions, ContenderError, Sample, Turn, percentile
from contenders.memory import kept_memory
from contenders.peer_file import BENCHMARKS
from contenders.tree import ProcessTree

_LAST_WORDS_LIMIT = 5.0


def bare_name(batch: int) -> str:
    """How the tables call the bare model at this batch size."""
    return f"bare, batches of {batch}" if batch > 1 else "bare, unbatched"


class Bare:
    """One turn for each batch size that the scenario names."""

    name = "bare"
    title = "the bare model in a loop"
    summary = "the model in one process, the same rows again and again, no server"
    settings = "inference_mode, one thread; the allocator set as inferd sets it"
    scenarios = tuple(SCENARIOS)

    def missing(self) -> str | None:
        """See `Contender`."""
        return None

    def version(self) -> str:
        """See `Contender`."""
        return f"torch {version('torch')}"

    def turns(self, scenario: Scenario, conditions: Conditions) -> Sequence[Turn]:
        """See `Contender`."""
        return [BareTurn(scenario, batch, conditions) for batch in scenario.bare_batches]


class BareTurn:
    """A `Turn`: a process that loops for as long as it is told and waits in between."""

    def __init__(self, scenario: Scenario, batch: int, conditions: Conditions) -> None:
        self.name = bare_name(batch)
        self._scenario = scenario
        self._batch = batch
        self._conditions = conditions
        self._process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """See `Turn`."""
        arguments = [self._scenario.model, str(self._batch), str(os.getpid())]
        with pinned(self._conditions.server_cpu):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "servers.bare", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=BENCHMARKS,
                env={**os.environ, **kept_memory()},
                process_group=0,  # Ctrl-C is ours to handle
            )
        self._loop(min(self._conditions.seconds, 1.0))

    def sample(self) -> Sample:
        """See `Turn`."""
        assert self._process is not None
        tree = ProcessTree(self._process.pid, "none")
        self._loop(self._conditions.seconds * 0.15)
        before = tree.cpu_seconds()
        outcome = self._loop(self._conditions.seconds)
        spent = tree.cpu_seconds() - before
        peak, proportional = tree.memory_mb()
        passes, rows = len(outcome["latencies_us"]), self._scenario.rows
        rows_per_second = passes * self._batch / outcome["seconds"]
        requests = max(1, passes * self._batch // rows)
        return Sample(
            requests=requests,
            requests_per_second=rows_per_second / rows,
            rows_per_second=rows_per_second,
            p50_us=percentile(outcome["latencies_us"], 50),
            p99_us=percentile(outcome["latencies_us"], 99),
            server_cpu_us=spent / requests * 1e6,
            peak_rss_mb=peak,
            pss_mb=proportional,
            load_busy=None,
        )

    def close(self) -> None:
        """See `Turn`."""
        if self._process is not None:
            try:
                self._process.communicate(timeout=_LAST_WORDS_LIMIT)  # no more to do: it ends
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _loop(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError as error:
            raise ContenderError(f"the loop is gone: {error}") from error
        if not answer:
            raise ContenderError("the loop ended; what it said is above")
        outcome: dict[str, Any] = json.loads(answer)
        return outcome
