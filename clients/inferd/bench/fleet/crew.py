"""How many client processes make the load: more while that helps."""

from __future__ import annotations

from typing import NamedTuple

BUSY = 0.85
"""Share of a core from which on another client process is tried."""

GAIN = 1.02
"""What more processes have to bring in answers per second to be kept."""


class Attempt(NamedTuple):
    """A step made by so many processes: cores that the busiest used, and what came of it."""

    processes: int
    cores: float
    throughput: float
    limited: bool
    """Whether the client was the limit."""


class Crew:
    """Decides on the number of processes, from step to step of one run."""

    def __init__(self, fixed: int | None, cores: int) -> None:
        """`fixed` None begins with one and goes up to the machine's `cores`."""
        self._count = fixed or 1
        self._settled = fixed is not None
        self._cores = cores

    def size(self, most: int) -> int:
        """How many processes make the next step, which has work for `most` of them."""
        return min(self._count, most)

    def more(self, made: Attempt, most: int) -> int | None:
        """How many processes to make the step again with; None where that many were right."""
        most = min(self._cores, most)
        enough = not made.limited and made.cores <= BUSY
        if self._settled or enough or made.processes >= most:
            return None
        return min(most, made.processes * 2)

    def keeps(self, tried: Attempt, before: Attempt) -> bool:
        """Whether more processes were better: if not, none are tried any more.

        On one machine they also take cores from the server: more is not always more.
        """
        relieved = before.limited and not tried.limited
        better = (
            tried.throughput * GAIN >= before.throughput
            if relieved
            else (tried.throughput >= before.throughput * GAIN)
        )
        if better:
            self._count = tried.processes
        else:
            self._settled = True
        return better
