"""Servers that take turns of a fraction of a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from contenders.slices import SlicedRun, in_slices
from contenders.tree import ProcessTree
from load import Load

BUSY = "while True: pass"
"""A server."""

WORK = "for _ in range(5_000_000): pass\nprint('all')"
"""What a generator does: some hundreds of milliseconds, of its own CPU time."""


def started(code: str) -> subprocess.Popen[str]:
    """Python that runs this."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """Python that runs this, until the context ends."""
    with started(code) as process:
        try:
            yield process
        finally:
            process.kill()


def stands_still(process: psutil.Process) -> None:
    """It does in a moment: a signal takes its time."""
    while process.status() != psutil.STATUS_STOPPED:
        pass


def test_one_runs_at_a_time_and_each_to_its_end() -> None:
    """The others stand still meanwhile; what each took is told by request, and outputs are looked at."""
    outputs: list[str] = []
    slices: list[str] = []
    with running(BUSY) as one, running(BUSY) as two:
        servers = {"one": psutil.Process(one.pid), "two": psutil.Process(two.pid)}

        def begin() -> Load:
            return Load(started(WORK), outputs.append)

        @contextmanager
        def beside(name: str) -> Iterator[None]:
            (other,) = servers.keys() - {name}
            stands_still(servers[other])
            slices.append(name)
            yield

        for each in servers.values():
            each.suspend()
        runs = {
            name: SlicedRun(ProcessTree(each.pid, "no such mark"), 1000, begin)
            for name, each in servers.items()
        }
        spent = in_slices(runs, 0.02, beside)
        for each in servers.values():
            stands_still(each)
    assert outputs == ["all\n", "all\n"]
    for name in servers:
        assert 0 < spent[name].cpu_us <= spent[name].passed_us * 1.5
        assert slices.count(name) > 1


def test_a_run_that_fails_leaves_no_generator_behind() -> None:
    """What the check raises comes out, and the other generator is ended."""
    processes: list[subprocess.Popen[str]] = []

    def generator(code: str, error: Exception | None) -> Load:
        def check(output: str) -> None:
            if error is not None:
                raise error

        processes.append(started(code))
        return Load(processes[-1], check)

    with running(BUSY) as one, running(BUSY) as two:
        runs = {
            "fails": SlicedRun(
                ProcessTree(one.pid, "no such mark"), 1, lambda: generator("", OSError("lost"))
            ),
            "lasts": SlicedRun(
                ProcessTree(two.pid, "no such mark"), 1, lambda: generator(BUSY, None)
            ),
        }

        @contextmanager
        def beside(name: str) -> Iterator[None]:
            yield

        with pytest.raises(OSError, match="lost"):
            in_slices(runs, 0.02, beside)
    assert all(each.poll() is not None for each in processes)
