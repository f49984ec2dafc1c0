"""The states of sequences, kept by the worker from their start to their end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inferd.core.link.messages import SequenceStep
from inferd.worker.model import Sequence


class SequenceStates:
    """States by the number that the gateway gave the sequence."""

    def __init__(self) -> None:
        self._states: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._states)

    @contextmanager
    def step(self, step: SequenceStep) -> Iterator[Sequence]:
        """The sequence as the model sees it for one request; forgotten afterwards at its end.

        Raises `LookupError` for one that never started.
        """
        if step.start:
            self._states[step.number] = {}
        state = self._states.get(step.number)
        if state is None:
            raise LookupError(f"sequence {step.number} is not known")
        try:
            yield Sequence(step.id, step.start, step.end, state)
        finally:
            if step.end:
                self.drop(step.number)

    def drop(self, number: int) -> None:
        """Forget one."""
        self._states.pop(number, None)

    def clear(self) -> None:
        """Forget all: whoever numbered them is gone."""
        self._states.clear()
