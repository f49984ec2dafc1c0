"""Which sequences there are, where their state lies, and when one is over. No I/O, no clock."""

from __future__ import annotations

import itertools
from collections.abc import Sequence as List
from dataclasses import dataclass
from math import inf

from inferd.core.link.messages import SequenceStep, SequenceTerms
from inferd.wire.errors import Exhausted, InvalidRequest, SequenceLost, ServingError


@dataclass(frozen=True, slots=True)
class SequenceAsk:
    """What a request says of its sequence."""

    id: int | str
    start: bool
    end: bool


@dataclass(slots=True, eq=False)
class Sequence:
    """Requests that share a state, kept by the instance behind one link.

    `under_way` counts requests without an outcome, `last` is when one last came or ended.
    """

    number: int
    id: int | str
    link: int
    under_way: int = 0
    last: float = 0.0
    closed: bool = False
    """Whether no further request joins it."""
    forgotten: bool = False
    """Whether its worker has let go of its state."""


@dataclass(slots=True, eq=False)
class Step:
    """One request of a sequence; `sent` once its worker has it, `over` once it has an outcome."""

    sequence: Sequence
    told: SequenceStep
    sent: bool = False
    over: bool = False


class Sequences:
    """The sequences of one deployment."""

    def __init__(self, model: str, terms: SequenceTerms) -> None:
        self._model = model
        self._terms = terms
        self._numbers = itertools.count(1)
        self._active: dict[int | str, Sequence] = {}
        self._lost: dict[int | str, None] = {}

    def admit(self, ask: SequenceAsk, links: List[int], now: float) -> Step:
        """The next step of a sequence; whoever is behind `links`, at least one where it starts, may keep it.

        A start goes to the instance that keeps fewest, or begins anew what is there. Raises
        `InvalidRequest` where the start is missing, `SequenceLost`, and `Exhausted` where too many
        are active.
        """
        sequence = self._active.get(ask.id)
        if not ask.start and sequence is None:
            if ask.id in self._lost:
                raise self.lost_error(ask.id)
            raise self.missing_start(ask.id)
        if sequence is None:
            if len(self._active) >= self._terms.max_active:
                raise Exhausted(
                    f"{len(self._active)} sequences of model '{self._model}' are active, which is "
                    "its max_active; end some, or try again when some have ended",
                    reason="TOO_MANY_SEQUENCES",
                )
            sequence = Sequence(next(self._numbers), ask.id, self._least(links))
            self._active[ask.id] = sequence
            self._lost.pop(ask.id, None)
        sequence.under_way += 1
        self._touch(sequence, now)
        if ask.end:
            self._close(sequence)
        return Step(sequence, SequenceStep(sequence.number, ask.id, ask.start, ask.end))

    def over(self, step: Step, now: float, *, done: bool) -> bool:
        """A request has its outcome; whether the worker is now to be told to forget its sequence.

        Without its start, or once its end is given up, a sequence is over. `done` is whether the
        model answered: then the worker has forgotten the sequence by itself at its end.
        """
        step.over = True
        sequence, told = step.sequence, step.told
        sequence.under_way -= 1
        self._touch(sequence, now)
        if told.start and not step.sent:
            self._close(sequence)
        if told.end and done:
            sequence.forgotten = True
        if sequence.forgotten or not sequence.closed or sequence.under_way:
            return False
        sequence.forgotten = True
        return True

    def idle(self, now: float) -> list[Sequence]:
        """Those without a request for too long: over now, for the caller to tell their workers."""
        found: list[Sequence] = []
        for each in self._active.values():
            if each.last + self._terms.idle_timeout > now:
                break
            if not each.under_way:
                found.append(each)
        for each in found:
            self._close(each)
            each.forgotten = True
        return found

    def next_event(self) -> float:
        """When the next one may have been idle for too long."""
        for each in self._active.values():
            if not each.under_way:
                return each.last + self._terms.idle_timeout
        return inf

    def lose(self, link: int) -> None:
        """The instance behind a link is gone, and every state that it kept."""
        for each in [found for found in self._active.values() if found.link == link]:
            self._close(each)
            each.forgotten = True
            self._lost[each.id] = None
            if len(self._lost) > self._terms.max_active:
                del self._lost[next(iter(self._lost))]

    def missing_start(self, id: int | str) -> ServingError:  # noqa: A002  # the protocol's word
        """What is said of a request that belongs to no sequence."""
        return InvalidRequest(
            f"inference request for sequence {str(id)[:64]} to model '{self._model}' must specify "
            "the START flag on the first request of the sequence; one that was idle for "
            f"{self._terms.idle_timeout:g} s is over",
            field="parameters[sequence_start]",
        )

    def lost_error(self, id: int | str) -> ServingError:  # noqa: A002  # the protocol's word
        """What is said of a request whose sequence went with its worker."""
        return SequenceLost(
            f"sequence {str(id)[:64]} of model '{self._model}' was lost with its worker, and its "
            "state with it; start it anew"
        )

    def _touch(self, sequence: Sequence, now: float) -> None:
        """Keep the active ones in the order in which they were last touched."""
        sequence.last = now
        if self._active.get(sequence.id) is sequence:
            self._active[sequence.id] = self._active.pop(sequence.id)

    def _close(self, sequence: Sequence) -> None:
        sequence.closed = True
        if self._active.get(sequence.id) is sequence:
            del self._active[sequence.id]

    def _least(self, links: List[int]) -> int:
        kept = [each.link for each in self._active.values()]
        return min(links, key=kept.count)
