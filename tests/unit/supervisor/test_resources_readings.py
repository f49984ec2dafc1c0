"""Readings beside an event loop: shared, bounded, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from inferd.core.clock import ManualClock
from inferd.server.supervisor.resources import readings
from inferd.server.supervisor.resources.readings import Readings
from inferd.server.supervisor.resources.resources import Reading


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading may take its time on a busy machine, but where a test says that it hangs."""
    monkeypatch.setattr(readings, "BOUND", 20.0)


class Source:
    """Reads when it is let, and notes who was asked for."""

    def __init__(self) -> None:
        self.asked: list[frozenset[int]] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.go.set()
        self.failure: Exception | None = None
        self.closed = False

    def read(self, pids: Iterable[int]) -> Reading:
        """A reading without anything in it."""
        self.asked.append(frozenset(pids))
        self.begun.set()
        self.go.wait(10)
        if self.failure is not None:
            raise self.failure
        return Reading((), {})

    def close(self) -> None:
        """Noted."""
        self.closed = True


async def test_a_fresh_reading_is_used_again() -> None:
    """For a second, and for processes that it has; else another one is taken."""
    source, clock = Source(), ManualClock()
    recent = Readings(source, clock).recent
    first = await recent([1, 2])
    assert first is not None
    clock.advance(0.9)
    assert await recent([2]) is first
    clock.advance(0.1)
    second = await recent([2])
    assert second is not first
    assert await recent([]) is second
    assert await recent([3]) is not second
    assert source.asked == [{1, 2}, {2}, {3}]


async def test_those_who_ask_together_share_one_reading() -> None:
    """There is never more than one under way; the event loop goes on meanwhile."""
    source = Source()
    source.go.clear()
    recent = Readings(source, ManualClock()).recent
    asking = [asyncio.create_task(recent([1])) for _ in range(5)]
    other = asyncio.create_task(recent([2]))
    assert await asyncio.to_thread(source.begun.wait, 10)
    assert source.asked == [{1}]
    source.go.set()
    shared = {id(each) for each in await asyncio.gather(*asking)}
    assert len(shared) == 1
    assert await other is not None
    assert source.asked == [{1}, {2}]


async def test_nobody_waits_for_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the bound there is none, and no second reading is begun; once it is back, all is well."""
    monkeypatch.setattr(readings, "BOUND", 0.05)
    source, clock = Source(), ManualClock()
    source.go.clear()
    shared = Readings(source, clock)
    with capture_logs() as logs:
        assert await shared.recent([1]) is None
        (thread,) = (each for each in threading.enumerate() if each.name == "read resources")
        assert thread.daemon, "the process could not end"
        assert await asyncio.to_thread(source.begun.wait, 10)
        assert await shared.recent([1]) is None
    assert source.asked == [{1}]
    assert [each["event"] for each in logs] == ["processes and GPUs are not read in time"]
    monkeypatch.setattr(readings, "BOUND", 20.0)
    source.go.set()
    assert await shared.recent([1]) is not None
    assert source.asked == [{1}]


async def test_a_reading_that_fails_is_none() -> None:
    """It is logged, and the next one is tried."""
    source = Source()
    source.failure = OSError("too many open files")
    shared = Readings(source, ManualClock())
    with capture_logs() as logs:
        assert await shared.recent([1]) is None
    assert [each["log_level"] for each in logs] == ["error"]
    source.failure = None
    assert await shared.recent([1]) is not None
    shared.close()
    assert source.closed


async def test_without_a_source_this_machine_is_read() -> None:
    """Its own processes, at least."""
    shared = Readings()
    found = await shared.recent([1 << 30])
    shared.close()
    assert found is not None
    assert found.processes == {}
