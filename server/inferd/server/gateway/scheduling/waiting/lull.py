"""The moment when the door has read all that had arrived."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident


class Lull:
    """Lets batches wait for requests that are there already, and for no others.

    While the door's thread reads requests that have arrived, a batch formed at once would go without
    them. Its own thread may `ask` to be told when nothing is left to read. Another thread that finds
    the door not `idle` may set `wanted`, which is a hint without a lock: the door may have gone to
    sleep meanwhile, so such a thread bounds its wait. The door then calls `reached`.
    """

    __slots__ = ("_on_reached", "_reader", "idle", "wanted")

    def __init__(self, on_reached: Callable[[], None]) -> None:
        """`on_reached` is called on the door's thread."""
        self.idle = True
        self.wanted = False
        self._reader = 0
        self._on_reached = on_reached

    def read_here(self) -> None:
        """The calling thread is the door's: it looks at `wanted` after each thing it read."""
        self._reader = get_ident()

    def ask(self) -> bool:
        """Have `reached` called; False, and nothing done, on any thread but the door's own."""
        if get_ident() != self._reader:
            return False
        self.wanted = True
        return True

    def reached(self) -> None:
        """The door has nothing left to read."""
        self.wanted = False
        self._on_reached()
