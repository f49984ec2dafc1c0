"""When requests arrive in an open loop, and which of them are due: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inferd.bench.plan import ArrivalKind

Times = npt.NDArray[np.float64]


def schedule(
    kind: ArrivalKind, rate: float, seconds: float, *, seed: Sequence[int], part: int, parts: int
) -> Times:
    """Seconds from the start, in order, at which one of `parts` client processes sends.

    All parts together make `rate` arrivals per second: independent Poisson processes add up to
    one, and constant parts interleave evenly. The same seed gives the same times.
    """
    if kind == "constant":
        count = max(0, int(np.ceil((seconds - part / rate) * rate / parts - 1e-9)))
        return (np.arange(count) * parts + part) / rate
    rng = np.random.default_rng([*seed, part])
    share = rate / parts
    # Six standard deviations more than expected; the loop is for whoever has such luck.
    many = int(share * seconds + 6 * np.sqrt(share * seconds) + 16)
    times = np.cumsum(rng.exponential(1 / share, many))
    while times[-1] < seconds:
        more = rng.exponential(1 / share, many)
        times = np.concatenate([times, times[-1] + np.cumsum(more)])
    return times[times < seconds]


class Agenda:
    """Hands out arrivals as their time comes; one that comes late keeps its time."""

    __slots__ = ("_at", "_times", "late")

    def __init__(self, times: Sequence[float]) -> None:
        """`times` in order, by the clock that `due` is told."""
        self._times = times
        self._at = 0
        self.late: list[float] = []
        """How long after its time each arrival was handed out, in seconds."""

    def due(self, now: float) -> float | None:
        """The next arrival if its time has come: to be sent at once, under that time."""
        if self._at == len(self._times):
            return None
        time = self._times[self._at]
        if time > now:
            return None
        self._at += 1
        self.late.append(now - time)
        return time

    def wait(self, now: float) -> float | None:
        """Seconds until the next arrival, 0 for one that is due; None after the last."""
        if self._at == len(self._times):
            return None
        return max(0.0, self._times[self._at] - now)

    def handed_out(self) -> Sequence[float]:
        """The times of the arrivals that `due` gave so far."""
        return self._times[: self._at]
