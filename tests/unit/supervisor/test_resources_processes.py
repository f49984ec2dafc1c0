"""What is read of processes: real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from inferd.core.clock import ManualClock
from inferd.server.supervisor.resources import processes
from inferd.server.supervisor.resources.processes import PROPORTIONAL_EVERY, Processes
from inferd.server.supervisor.resources.resources import Resources
from support.fake_nvml import FakeGpu, FakeNvml


class SlowClock(ManualClock):
    """A clock on which everything between two looks takes 15 ms."""

    def monotonic(self) -> float:
        """The time, later at every look."""
        self.advance(0.015)
        return super().monotonic()


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that wait."""
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(3)]
    for child in started:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
    yield started
    for child in started:
        child.kill()
        child.communicate()


def test_this_process_is_read_as_the_kernel_has_it() -> None:
    """CPU time of user and system together, and bytes."""
    own = os.getpid()
    read = Processes(ManualClock()).read
    before, reading = read([own])[own], read([own])[own]
    times = os.times()
    assert before.cpu_seconds <= reading.cpu_seconds <= times.user + times.system + 0.1
    assert reading.cpu_seconds > 0.9 * times.user
    assert reading.resident_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert reading.proportional_bytes is not None
    assert 1 << 20 < reading.proportional_bytes < 1.2 * reading.resident_bytes


def test_every_open_file_and_thread_is_counted() -> None:
    """Of a process that is still: of ours, libraries open and start some when they like."""
    code = (
        "import sys, threading; print('up', flush=True); sys.stdin.readline();"
        "kept = open('/dev/null'); threading.Thread(target=threading.Event().wait).start();"
        "print('more', flush=True); sys.stdin.readline()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        read = Processes(ManualClock()).read
        assert child.stdout.readline() == b"up\n"
        before = read([child.pid])[child.pid]
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"more\n"
        after = read([child.pid])[child.pid]
        child.kill()
    assert (before.threads, after.threads) == (1, 2)
    assert after.open_files == before.open_files + 1 >= 4


def test_one_that_has_ended_is_left_out(children: list[subprocess.Popen[bytes]]) -> None:
    """Whether somebody has reaped it or not, and whoever else is asked for."""
    zombie, reaped, alive = children
    read = Processes(ManualClock()).read
    assert set(read(child.pid for child in children)) == {child.pid for child in children}
    reaped.kill()
    reaped.wait()
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert set(read(child.pid for child in children)) == {alive.pid}


def test_proportional_memory_is_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dear: for some seconds the last figure does."""
    figures = iter(range(100))
    monkeypatch.setattr(processes, "_proportional", lambda _: next(figures))
    clock = ManualClock()
    reader, own = Processes(clock), os.getpid()

    def proportional() -> int | None:
        return reader.read([own])[own].proportional_bytes

    assert [proportional(), proportional()] == [0, 0]
    clock.advance(PROPORTIONAL_EVERY - 0.1)
    assert proportional() == 0
    clock.advance(0.2)
    assert [proportional(), proportional()] == [1, 1]
    reader.read([])
    assert proportional() == 2, "a process that nobody asks for is forgotten"


def test_proportional_memory_is_read_anew_of_a_process_that_has_grown() -> None:
    """A worker that loads is another one a second later: what it took before is not told then."""
    grown = 64 << 20
    code = f"import sys; print('up', flush=True); sys.stdin.readline(); kept = b'x' * {grown}"
    command = [sys.executable, "-c", code + "; print('grown', flush=True); sys.stdin.readline()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        reader = Processes(ManualClock())  # on which no time passes

        def proportional() -> int:
            return reader.read([child.pid])[child.pid].proportional_bytes or 0

        assert child.stdout.readline() == b"up\n"
        assert proportional() < grown
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"grown\n"
        assert proportional() >= grown  # of that, nothing is shared; its share of the rest varies
        child.kill()


def test_many_processes_share_the_time_for_it(children: list[subprocess.Popen[bytes]]) -> None:
    """Those that a reading has no time for come first in the next ones."""
    clock = SlowClock()
    reader, pids = Processes(clock), [child.pid for child in children]

    def known() -> int:
        readings = reader.read(pids).values()
        assert all(each.resident_bytes > 0 for each in readings)
        return sum(each.proportional_bytes is not None for each in readings)

    assert [known(), known(), known()] == [1, 2, 3]


def test_a_process_whose_pages_may_not_be_looked_at_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All else is read of it."""

    def refused(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", refused)
    own = os.getpid()
    reading = Processes(ManualClock()).read([own])[own]
    assert reading.proportional_bytes is None
    assert reading.resident_bytes > 1 << 20


def test_a_reading_holds_gpus_and_processes() -> None:
    """Without NVML, the processes alone."""
    own = os.getpid()
    resources = Resources(FakeNvml(FakeGpu("GPU-a")))
    reading = resources.read([own, 1 << 30])
    assert [gpu.uuid for gpu in reading.gpus] == ["GPU-a"]
    assert set(reading.processes) == {own}
    resources.close()
    assert resources.read([own]).gpus == ()
    without = Resources(FakeNvml(driver=False)).read([own])
    assert (without.gpus, set(without.processes)) == ((), {own})
