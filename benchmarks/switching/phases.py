"""Inside a gateway under load: its door hands requests to what watches them, and past it, in turns."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.scheduling.statistics import Statistics
from switching.costs import STATES, Phase

_METHOD = b"/inference.GRPCInferenceService/ModelInfer"
_WARM = 20_000
"""Requests before the first phase."""

_SETTLE = 0.03
"""Seconds of a phase that do not count: what the one before has under way is answered in them."""

_JITTER = 0.2
"""Phases differ by this part: none keeps step with what happens once a second."""

_AFTERWARDS = frozenset({"MainThread", "access-log", "counts", "traces"})
"""Threads of a gateway that do later what phases have left for them, or answer scrapes."""


class Phases:
    """A thread that switches, measures and writes a line for each phase."""

    def __init__(self, gateway: Any, file: Path, rounds: int, seconds: float) -> None:
        """`seconds` is how long a phase lasts, about; each round has one of each of `STATES`."""
        self._file = file
        self._rounds = rounds
        self._seconds = seconds
        # What is switched is nobody else's business.
        self._dataplane = gateway._dataplane  # noqa: SLF001
        self._methods = gateway._door._unary  # noqa: SLF001
        self._name, self._watched, self._record = self._methods[_METHOD]
        self._thread = threading.Thread(target=self._run, name="phases", daemon=True)

    def start(self) -> None:
        """Begin, as soon as there is load."""
        self._thread.start()

    def _run(self) -> None:
        while self._requests() < _WARM:
            time.sleep(0.2)
        plain = Dataplane.infer.__get__(self._dataplane)
        with self._file.open("w") as file:
            for _ in range(self._rounds):
                for state in random.sample(STATES, len(STATES)):
                    handle = self._watched if state == "on" else plain
                    self._methods[_METHOD] = (self._name, handle, self._record)
                    time.sleep(_SETTLE)
                    file.write(json.dumps(asdict(self._phase(state))) + "\n")
                    file.flush()

    def _phase(self, state: str) -> Phase:
        before = self._now()
        time.sleep(self._seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
        passed = self._now()
        passed.subtract(before)
        cpu = {name: passed[name] / 1e9 for name in ("gateway", "worker", "afterwards")}
        return Phase(state, passed["requests"], passed["rows"], passed["batches"], **cpu)

    def _now(self) -> Counter[str]:
        """So far: what has been answered and executed, and nanoseconds of CPU time, as in `Phase`."""
        spent = Counter(requests=self._requests())
        for each in self._statistics():
            spent.update(rows=each.inference_count, batches=each.execution_count)
        named = {each.native_id: each.name for each in threading.enumerate()}
        for thread, nanoseconds in _threads(os.getpid()):
            name = named.get(thread, "")
            if name != self._thread.name:
                spent["afterwards" if name in _AFTERWARDS else "gateway"] += nanoseconds
        supervisor = psutil.Process(os.getppid())
        spent["afterwards"] += sum(each for _, each in _threads(supervisor.pid))
        for worker in supervisor.children():
            if worker.pid != os.getpid():
                spent["worker"] += sum(each for _, each in _threads(worker.pid))
        return spent

    def _requests(self) -> int:
        return sum(each.success.count for each in self._statistics())

    def _statistics(self) -> list[Statistics]:
        return [each.statistics for each in self._dataplane._deployments.values()]  # noqa: SLF001


def _threads(process: int) -> Iterator[tuple[int, int]]:
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # it has just ended
            yield int(task.name), int((task / "schedstat").read_text().split()[0])
