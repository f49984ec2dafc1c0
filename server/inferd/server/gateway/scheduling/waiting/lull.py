"""The moment when the door has read all that had arrived."""

from __future__ import annotations

from collections.abc import Callable


class Lull:
    """Lets batches wait for requests that are there already, and for no others.

    While the door's thread reads requests that have arrived, a batch formed at once would go without
    them. A thread that finds the door not `idle` may set `wanted`; the door then calls `reached`
    when there is nothing left to read. Both are hints, set and read without a lock: whoever waits
    bounds its wait.
    """

    __slots__ = ("_on_reached", "wanted", "idle")

    def __init__(self, on_reached: Callable[[], None]) -> None:
        """`on_reached` is called on the door's thread."""
        self.idle = True
        self.wanted = False
        self._on_reached = on_reached

    def reached(self) -> None:
        """The door has nothing left to read."""
        self.wanted = False
        self._on_reached()
