"""What torch's allocator holds of the GPU, told to the supervisor as it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from inferd.core.link.messages import MemoryReport
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry import logs

_log = logs.get_logger(__name__)

REPORT_EVERY = 1.0
"""Seconds between two reports, at least."""


class Reports:
    """Decides which reports are worth sending: those that say something new, not too often."""

    def __init__(self) -> None:
        self._last: MemoryReport | None = None
        self._at = float("-inf")

    def due(self, report: MemoryReport, now: float) -> bool:
        """Whether this one is to be sent at `now`, and then is taken as sent."""
        if report == self._last or now - self._at < REPORT_EVERY:
            return False
        self._last, self._at = report, now
        return True


@contextmanager
def reporting(send: Callable[[MemoryReport], None], device: str) -> Iterator[None]:
    """Report from a thread of its own while the context lasts; nothing at all on a CPU.

    It is over before the context is left, so nothing asks CUDA while the process ends. `send` must
    be safe beside other threads' sending.
    """
    if not device.startswith("cuda"):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_report, args=(send, ended), name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # A daemon, and not waited for without end: `send` may hang on a supervisor that stands.
        thread.join(REPORT_EVERY)


def _report(send: Callable[[MemoryReport], None], ended: threading.Event) -> None:
    reports = Reports()
    try:
        while True:
            report = read()
            if reports.due(report, time.monotonic()):
                send(report)
            if ended.wait(REPORT_EVERY):
                return
    except PeerGone:
        pass  # the loop sees it, too, and ends the process
    except Exception as error:
        # A model must not cease to be served because nobody can tell what it takes.
        _log.warning("the GPU's memory is not reported any more", exc_info=error)


def read() -> MemoryReport:
    """What the allocator holds of the current device; asks the allocator, never the device."""
    stats = torch.cuda.memory_stats()
    return MemoryReport(
        stats.get("allocated_bytes.all.current", 0),
        stats.get("reserved_bytes.all.current", 0),
        stats.get("allocated_bytes.all.peak", 0),
    )
