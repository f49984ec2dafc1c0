"""The thread that writes what others do not wait for."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from structlog.testing import capture_logs

from inferd.core.telemetry.writer_thread import WriterThread


def test_all_that_waits_is_written_in_order_some_at_a_time() -> None:
    """Also what came before the thread began, and what is left at the end."""
    written: list[list[int]] = []
    thread = WriterThread("t", written.append, most_waiting=100, at_once=4, period=60.0)
    for number in range(10):
        thread.put(number)
    thread.start()
    thread.close(20)
    assert written == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert thread.dropped == 0


def test_whoever_puts_never_waits() -> None:
    """What is too much is counted while the writer is stuck; the rest is written once it goes on."""
    stuck, goes_on = threading.Event(), threading.Event()
    written: list[int] = []

    def write(items: list[int]) -> None:
        stuck.set()
        assert goes_on.wait(20)
        written.extend(items)

    thread = WriterThread("t", write, most_waiting=3, at_once=1, period=0.0)
    thread.start()
    thread.put(0)
    assert stuck.wait(20)
    for number in range(1, 10):
        thread.put(number)
    goes_on.set()
    thread.close(20)
    assert written == [0, 1, 2, 3]
    assert thread.dropped == 6


def test_a_failure_is_told_and_not_the_end() -> None:
    """Later items are written."""
    written: list[int] = []

    def write(items: list[int]) -> None:
        if items == [0]:
            raise OSError("the disk is full")
        written.extend(items)

    thread = WriterThread("t", write, most_waiting=10, at_once=1, period=0.0)
    for number in range(3):
        thread.put(number)
    with capture_logs() as told:
        thread.start()
        thread.close(20)
    assert written == [1, 2]
    assert [each["event"] for each in told] == ["what was to be written is lost"]


def test_the_first_waits_for_company_and_no_longer() -> None:
    """Until there are enough to be written together, or for its period."""
    written: SimpleQueue[list[int]] = SimpleQueue()
    thread = WriterThread("t", written.put, most_waiting=9, at_once=3, period=60.0)
    thread.start()
    for number in range(6):
        thread.put(number)
        if number % 3 == 2:
            assert written.get(timeout=20) == [number - 2, number - 1, number]
    thread.close(20)
    patient = WriterThread("t", written.put, most_waiting=9, at_once=3, period=0.01)
    patient.start()
    patient.put(1)
    assert written.get(timeout=20) == [1]
    patient.close(20)


def test_the_end_does_not_wait_for_a_writer_that_hangs() -> None:
    """For longer than it is told to."""
    goes_on, went_on = threading.Event(), threading.Event()

    def write(_: list[int]) -> None:
        goes_on.wait(20)
        went_on.set()

    thread = WriterThread("t", write, most_waiting=9, at_once=1, period=0.0)
    thread.start()
    thread.put(1)
    thread.close(0.01)
    assert not went_on.is_set()
    goes_on.set()
    assert went_on.wait(20)
