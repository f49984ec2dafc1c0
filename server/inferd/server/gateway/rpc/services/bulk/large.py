"""Which bulk streams have a large chunk under way: few at a time, whoever came first."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LargeChunks:
    """So many places for all streams of a gateway; the others wait for one. Safe from any thread.

    Nobody who has a place waits for anything but its own caller and its answer, so places come free.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._inside: set[object] = set()
        self._waiting: dict[object, Callable[[], None]] = {}

    def enter(self, who: object, go_on: Callable[[], None]) -> bool:
        """Whether `who` has a place now; if not, `go_on` is called when it has.

        On the thread of whoever gives a place up, which may hold locks.
        """
        with self._lock:
            if len(self._inside) < self._places:
                self._inside.add(who)
                return True
            self._waiting[who] = go_on
            return False

    def leave(self, who: object) -> None:
        """Give up its place, or its waiting for one, if it has any."""
        with self._lock:
            self._waiting.pop(who, None)
            if who not in self._inside:
                return
            self._inside.remove(who)
            if not self._waiting:
                return
            following = next(iter(self._waiting))
            go_on = self._waiting.pop(following)
            self._inside.add(following)
        go_on()
