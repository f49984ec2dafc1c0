"""Whether a deployment's next batch waits for what the door still reads. Decides only: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.pending import Pending, Piece
from inferd.server.gateway.scheduling.queue import Queue
from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED

PATIENCE = 0.5
"""Of a batch's time, there and back: so long may the next one be held at most."""


class Hold:
    """Until when the next batch is held, and whether holding a single request would gain anything.

    Read for every request, so its state is plain attributes. Times are monotonic seconds.
    """

    __slots__ = ("_delays", "_together", "company", "round", "until")

    def __init__(self, *, delays: bool = False) -> None:
        """With `delays` requests wait for company anyway: none is held when it comes."""
        self.until = 0.0
        """0.0 while nothing is held; whoever lets it go sets it."""
        self.round = inf
        """Seconds that the last ordinary batch took; finite wherever company is expected."""
        self.company = False
        """Whether who comes alone will soon have company, as one of the last two ordinary batches had."""
        self._together = False
        self._delays = delays

    def concluded(self, pieces: Sequence[Piece], took: float) -> None:
        """An ordinary batch of these pieces ended well, `took` seconds after it was formed."""
        # The parts of one request lie side by side, and they are no company.
        together = pieces[0].pending is not pieces[-1].pending
        self.company = (together or self._together) and not self._delays
        self._together = together
        self.round = took

    def awaits(
        self,
        pending: Pending,
        queue: Queue,
        instances: Sequence[Instance],
        ask: Callable[[], bool] | None,
    ) -> bool:
        """Begin to hold a request that came where an instance is free, if that pays; whether it does.

        To be called where `company` is expected. It does not pay where a batch is full, which it is
        at once where requests are executed alone; nor where several instances are free, for which
        requests are spread; nor where something is held already: then its time is up. And it is safe
        only where `ask` says that the door's own thread submits it: that will look up when all is
        read, a bound that costs nothing. The dispatcher's alarm is another one. Of quick batches it
        rings for who waits for `UNANSWERED` seconds, the most that is waited here, and is not to be
        set for `until` as well: to wake its thread for each burst would cost what holding saves.
        """
        if ask is None or self.until or queue.full or sum([each.free for each in instances]) != 1:
            return False
        if not ask():
            return False
        self.until = pending.arrived + min(PATIENCE * self.round, UNANSWERED)
        return True

    def begin(self, now: float, took: float) -> None:
        """Hold the next batch, for a share of the `took` seconds of another one."""
        self.until = now + PATIENCE * took
