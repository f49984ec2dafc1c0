"""What became of every request, kept small: ten million of them fit into 170 MB."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from inferd.bench.samples import CUT_OFF, OK, Samples

_LONGEST_TEXT = 1000


class Record:
    """The requests of one connection, in the order of their ends."""

    __slots__ = ("_codes", "_finished", "_intended", "failed", "texts")

    def __init__(self) -> None:
        self._intended = array("d")
        self._finished = array("d")
        self._codes = array("B")
        self.failed = 0
        self.texts: dict[int, str] = {}
        """The first message by code."""

    def add(self, intended: float, finished: float, code: int, text: str) -> None:
        """A request has ended with this gRPC code."""
        self._intended.append(intended)
        self._finished.append(finished)
        self._codes.append(code)
        if code != OK:
            self.failed += 1
            if code not in self.texts:
                self.texts[code] = text[:_LONGEST_TEXT]

    def cut_off(self, intended: float, finished: float) -> None:
        """A request was given up because the run was stopped."""
        self._intended.append(intended)
        self._finished.append(finished)
        self._codes.append(CUT_OFF)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def answered(self) -> int:
        """Requests that were answered without an error."""
        return len(self._codes) - self.failed

    def samples(self, sent: Sequence[float] = (), late: Sequence[float] = ()) -> Samples:
        """All of them; see `Samples` for the schedule of an open loop."""
        return Samples(
            np.array(self._intended),
            np.array(self._finished),
            np.array(self._codes, dtype=np.uint8),
            np.array(sent, dtype=np.float64),
            np.array(late, dtype=np.float64),
        )
