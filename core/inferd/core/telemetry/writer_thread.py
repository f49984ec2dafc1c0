"""A thread that writes what others do not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from inferd.core.telemetry.logs import get_logger

T = TypeVar("T")

_log = get_logger(__name__)


class WriterThread(Generic[T]):
    """Takes what is to be written and hands it on, some at a time.

    The first waits for company: each time that a thread wakes up, others lose the interpreter.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[list[T]], None],
        *,
        most_waiting: int,
        at_once: int,
        period: float,
    ) -> None:
        """`write` is called on the thread `name` alone, with `at_once` at most.

        Beyond `most_waiting` what comes is dropped; `period` is how many seconds the first waits
        at most.
        """
        self.dropped = 0
        """How many were one too many."""
        self._write = write
        self._most_waiting = most_waiting
        self._at_once = at_once
        self._period = period
        self._waiting: SimpleQueue[T | None] = SimpleQueue()
        self._closed = False
        self._hurry = threading.Event()  # there is company enough, or no more will come
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, item: T) -> None:
        """Take one, or drop it where too many wait. Safe from any thread; never blocks."""
        waiting = self._waiting.qsize()
        if waiting >= self._most_waiting:
            self.dropped += 1
            return
        self._waiting.put(item)
        if waiting + 1 >= self._at_once:
            self._hurry.set()

    def close(self, timeout: float) -> None:
        """Write what is left, if that can be done within so many seconds."""
        self._closed = True
        self._hurry.set()
        self._waiting.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            if self._waiting.qsize() < self._at_once - 1 and not self._closed:
                self._hurry.wait(self._period)
            self._hurry.clear()
            items = [first, *islice(iter(self._next, None), self._at_once - 1)]
            try:
                self._write(items)
            except Exception as error:  # the last resort: later ones may be written
                name = self._thread.name
                _log.error("what was to be written is lost", what=name, exc_info=error)

    def _next(self) -> T | None:
        """The next that waits; None where nothing does, or nothing will any more."""
        try:
            item = self._waiting.get_nowait()
        except Empty:
            return None
        if item is None:
            self._waiting.put(None)  # for the loop to see
        return item
