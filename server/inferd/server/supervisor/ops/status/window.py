"""The last minute of a server's counters, in a few samples."""

from __future__ import annotations

from collections import deque

from inferd.core.telemetry.sample import Sample

PERIOD = 5.0
"""Seconds between two samples."""

SPAN = 60.0
"""Seconds that rates are taken over, once the server has run for as long."""


class Window:
    """Remembers as many samples as its span takes, and knows which one to compare with."""

    def __init__(self, first: Sample, *, span: float = SPAN, period: float = PERIOD) -> None:
        """`first` is what it begins with; one more is expected every `period` seconds."""
        self._span = span
        self._samples = deque([first], maxlen=int(span / period) + 2)

    def note(self, sample: Sample) -> None:
        """Remember this one, the latest; the oldest is forgotten where there are too many."""
        self._samples.append(sample)

    def before(self, now: float) -> Sample:
        """The oldest sample of the last span; the latest one where all are older."""
        return next(
            (each for each in self._samples if now - each.at <= self._span), self._samples[-1]
        )
