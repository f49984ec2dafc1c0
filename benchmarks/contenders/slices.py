"""Servers in turns of a fraction of a second.

What else a machine does comes and goes within seconds. Servers that take turns of a fifth of one are all
disturbed alike, so what one costs beside another comes out several times as exact as from samples of
seconds; how long single requests take does not come out at all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from load import Load

from contenders.tree import ProcessTree

_JITTER = 0.2
"""Slices differ by this part: none keeps step with what happens in the server once a second."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds per request: CPU time of the whole server, and time that passed while it was not paused.

    `of` is the CPU time of the processes of each role.
    """

    cpu_us: float
    passed_us: float
    of: Mapping[str, float] = field(default_factory=dict)


class SlicedRun:
    """A number of requests to a server that is paused between slices, and the generator with it."""

    def __init__(self, tree: ProcessTree, requests: int, begin: Callable[[], Load]) -> None:
        """The server is paused, and all its processes run; `begin` starts the generator."""
        self._tree = tree
        self._processes = tree.processes()
        self._requests = requests
        self._begin = begin
        self._load: Load | None = None
        self._cpu, self._cpu_of = self._cpu_seconds(), tree.role_cpu_seconds()
        self._passed = 0.0
        self.done = False

    def slice(self, seconds: float, beside: AbstractContextManager[object]) -> None:
        """Let it run for so long, or to its end, inside of `beside`. Raises `LoadError`."""
        began = time.monotonic()
        for each in reversed(self._processes):
            each.resume()
        if self._load is None:
            self._load = self._begin()
        else:
            self._load.resume()
        with beside:
            self.done = self._load.wait(seconds)
        if not self.done:
            self._load.pause()
        for each in self._processes:
            each.suspend()
        self._passed += time.monotonic() - began

    def spent(self) -> Spent:
        """What it took, when it is done."""
        each = 1e6 / self._requests
        cpu, cpu_of = self._cpu_seconds(), self._tree.role_cpu_seconds()
        of = {role: (spent - self._cpu_of[role]) * each for role, spent in cpu_of.items()}
        return Spent((cpu - self._cpu) * each, self._passed * each, of)

    def close(self) -> None:
        """End the generator of a run that is not done."""
        if self._load is not None and not self.done:
            self._load.kill()

    def _cpu_seconds(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._processes)


def in_slices(
    runs: Mapping[str, SlicedRun],
    seconds: float,
    beside: Callable[[str], AbstractContextManager[object]],
) -> dict[str, Spent]:
    """Let all of them run to their end in slices of about `seconds`; `beside` may do more meanwhile.

    Raises `LoadError`.
    """
    try:
        while waiting := [name for name, run in runs.items() if not run.done]:
            random.shuffle(waiting)  # none always follows the same other one
            for name in waiting:
                length = seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # no secret
                runs[name].slice(length, beside(name))
    finally:
        for run in runs.values():
            run.close()
    return {name: run.spent() for name, run in runs.items()}
