"""When a worker tells what torch holds of its GPU."""

from __future__ import annotations

import queue
import threading

import pytest
import torch
from structlog.testing import capture_logs

from inferd.core.clock import ManualClock
from inferd.core.link.messages import MemoryReport
from inferd.core.link.sockets import PeerGone
from inferd.worker import memory
from inferd.worker.memory import Reports, reporting

ONE, OTHER = MemoryReport(1, 2, 3), MemoryReport(2, 2, 3)


def threads() -> list[threading.Thread]:
    """The threads that report."""
    return [thread for thread in threading.enumerate() if thread.name == "memory"]


def test_only_what_is_new_is_sent_and_not_too_often() -> None:
    """The first at once, then changes, a second apart; a change that must wait is not lost."""
    reports, clock = Reports(), ManualClock(100.0)

    def due(report: MemoryReport) -> bool:
        return reports.due(report, clock.monotonic())

    assert due(ONE)
    clock.advance(0.5)
    assert not due(OTHER), "half a second after the last one"
    clock.advance(0.5)
    assert due(OTHER)
    clock.advance(60)
    assert not due(OTHER), "nothing has changed"
    assert due(ONE)
    assert not due(OTHER)


def test_a_worker_on_a_cpu_has_no_such_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to tell; the allocator is not even asked."""
    monkeypatch.setattr(memory, "read", pytest.fail)
    told: list[MemoryReport] = []
    with reporting(told.append, "cpu"):
        assert threads() == []
    assert told == []


def test_reports_come_from_a_thread_that_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are told while the context lasts; nobody asks CUDA afterwards."""
    monkeypatch.setattr(memory, "REPORT_EVERY", 0.01)
    figures = iter([ONE, ONE, OTHER])
    monkeypatch.setattr(memory, "read", lambda: next(figures, OTHER))
    told: queue.SimpleQueue[MemoryReport] = queue.SimpleQueue()
    with reporting(told.put, "cuda:0"):
        assert told.get(timeout=10) == ONE
        assert told.get(timeout=10) == OTHER
        assert len(threads()) == 1
        assert threads()[0].daemon
    assert threads() == []
    assert told.empty()


@pytest.mark.parametrize(("failure", "lines"), [(PeerGone("gone"), 0), (RuntimeError("CUDA"), 1)])
def test_what_ends_reporting_ends_nothing_else(failure: Exception, lines: int) -> None:
    """A supervisor that is gone is the loop's affair; anything else is logged once."""

    def fail(_: MemoryReport) -> None:
        raise failure

    with capture_logs() as logs, reporting(fail, "cuda:0"):
        for thread in threads():
            thread.join(10)
        assert threads() == []
    assert len(logs) == lines


def test_without_cuda_the_allocator_holds_nothing() -> None:
    """Asking it is harmless, and gives zeros."""
    if not torch.cuda.is_available():
        assert memory.read() == MemoryReport(0, 0, 0)
