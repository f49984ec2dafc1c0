"""What the client processes recorded, and its throughput and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

OK = 0
CUT_OFF = 255
"""Instead of a gRPC code: the run was stopped before the answer came."""

_PERCENTILES = (50.0, 90.0, 99.0, 99.9)

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Samples:
    """Requests by the time they were meant to be sent; seconds of the monotonic clock.

    `intended`, `finished` and `codes` (gRPC's numbers) have one element per request that ended, in
    the order of their ends. `sent` and `late` are the schedule of an open loop, as far as it was
    followed, and how much later than that requests were sent.
    """

    intended: Floats
    finished: Floats
    codes: Codes
    sent: Floats
    late: Floats

    def save(self, file: Path) -> None:
        """Write them for `load`."""
        with file.open("wb") as stream:
            np.savez(
                stream,
                intended=self.intended,
                finished=self.finished,
                codes=self.codes,
                sent=self.sent,
                late=self.late,
            )

    @classmethod
    def load(cls, file: Path) -> Samples:
        """What `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(*(arrays[name] for name in cls.__dataclass_fields__))

    @classmethod
    def together(cls, parts: Sequence[Samples]) -> Samples:
        """Those of all client processes."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """Of answered requests, in seconds, from when each was meant to be sent; exact percentiles."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    mean: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A window of time.

    `answered` and `errors` (by gRPC code) count requests that were meant to be sent in the window,
    whenever they ended, so that a stall at its end shows. `rate` is of answers that came in the
    window, per second. `latency` is None where nothing was answered.
    """

    seconds: float
    answered: int
    errors: dict[int, int]
    rate: float
    latency: Latency | None
    late: float

    @property
    def failed(self) -> int:
        """Requests that ended with an error."""
        return sum(self.errors.values())


def measure(samples: Samples, begin: float, end: float) -> Measured:
    """What happened between two times of the samples' clock."""
    seconds = max(end - begin, 1e-9)
    meant = (samples.intended >= begin) & (samples.intended < end)
    meant &= samples.codes != CUT_OFF
    answered = samples.codes == OK
    took = (samples.finished - samples.intended)[meant & answered]
    in_time = answered & (samples.finished >= begin) & (samples.finished < end)
    codes, counts = np.unique(samples.codes[meant & ~answered], return_counts=True)
    late = samples.late[(samples.sent >= begin) & (samples.sent < end)]
    return Measured(
        seconds=seconds,
        answered=len(took),
        errors={int(code): int(count) for code, count in zip(codes, counts, strict=True)},
        rate=float(np.count_nonzero(in_time)) / seconds,
        latency=_latency(took) if len(took) else None,
        late=float(np.percentile(late, 99)) if len(late) else 0.0,
    )


def _latency(took: Floats) -> Latency:
    # "higher" gives a latency that occurred; a mean of two neighbours may lie far from both.
    p50, p90, p99, p999 = np.percentile(took, _PERCENTILES, method="higher")
    return Latency(
        float(p50), float(p90), float(p99), float(p999), float(took.max()), float(took.mean())
    )
