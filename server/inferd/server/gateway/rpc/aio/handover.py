"""From any thread to the loop's."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any


class Handover:
    """Has things done on the loop's thread, in order; a burst of them costs one wake-up."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[tuple[Callable[[Any], None], Any]] = []
        self._closed = False
        self._home = 0

    def settle(self) -> None:
        """Called once on the loop's thread, where things are done at once from now on."""
        self._home = threading.get_ident()

    def post(self, act: Callable[[Any], None], argument: Any) -> None:
        """Call `act` with the argument: here and now on the loop's thread, else there and soon."""
        if threading.get_ident() == self._home:
            act(argument)
        else:
            self.defer(act, argument)

    def defer(self, act: Callable[[Any], None], argument: Any) -> None:
        """Call `act` with the argument on the loop's thread, never before this has returned.

        For whoever holds a lock that `act` takes.
        """
        with self._lock:
            if self._closed:
                return
            self._waiting.append((act, argument))
            if len(self._waiting) == 1:
                self._loop.call_soon_threadsafe(self._run)

    def close(self) -> None:
        """From now on nothing is done any more: the loop is about to end."""
        with self._lock:
            self._closed = True

    def _run(self) -> None:
        with self._lock:
            due, self._waiting = self._waiting, []
        for act, argument in due:
            act(argument)
