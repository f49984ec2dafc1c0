"""A deployment whose model yields: generators side by side, each advanced as it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import inf

from inferd.core.link.messages import OutputOverflow
from inferd.core.link.sockets import PeerGone
from inferd.server.gateway.scheduling.decoupled.pending import DecoupledPending
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.instance import Completed, Failed, Instance
from inferd.server.gateway.scheduling.pending import Pending
from inferd.wire.errors import ArenaFull, DeadlineExceeded, ServingError


class DecoupledDeployment(Deployment):
    """Gives each request to a worker alone, as many as it takes side by side; the others wait.

    A generator takes its next step when its last answer was taken. One that is of no use any more
    is closed, and keeps its slots until the worker says that it has: it may look at its inputs.
    Not thread-safe, as `Deployment`; `pass_on` is called by the thread that reads the links.
    """

    @property
    def quick(self) -> bool:
        """Never: how long a generator runs is not known, so its caller is asked after at once."""
        return False

    def dispatch(self) -> None:
        """End the generators whose time is over, and start what waits."""
        now = self._now()
        for instance, number, pending in list(self._running()):
            if pending.until <= now:
                late = DeadlineExceeded("Request timeout expired while it was being answered")
                self._break_off(instance, number, pending, late)
        super().dispatch()

    def next_event(self) -> float:
        """When `dispatch` has something to do without a new message, in monotonic seconds."""
        ends = (pending.until for _, _, pending in self._running())
        return min(super().next_event(), min(ends, default=inf))

    def cancel(self, pending: Pending) -> None:
        """The caller is gone: the generator is closed, or never started."""
        found = self._find(pending)
        super().cancel(pending)
        if found is not None:
            _stop(*found)

    def pass_on(self, outcome: Completed) -> bool:
        """Send a generator's answer; whether it may take its next step at once: see `advance`.

        Raises `OutputInvalid`.
        """
        pending = outcome.execution.batch.pieces[0].pending
        if pending.settled or not isinstance(pending, DecoupledPending):
            return False
        self.statistics.sent += sum([len(each) for each in outcome.outputs])
        return pending.answer(outcome.layout, outcome.outputs)

    def proceed(self, pending: Pending) -> None:
        """Its answers are read again: let the generator take its next step."""
        found = self._find(pending)
        if found is not None:
            _advance(*found)

    def advance(self, instance: Instance, number: int) -> None:
        """The generator's answer was taken: let it take its next step, unless it was closed."""
        execution = instance.executions.get(number)
        if execution is not None and not execution.batch.pieces[0].pending.settled:
            _advance(instance, number)

    def misanswered(self, instance: Instance, outcome: Failed) -> None:
        """An answer was none: the caller learns why, the generator is closed."""
        pending = outcome.execution.batch.pieces[0].pending
        self._break_off(instance, outcome.number, pending, outcome.error)

    def overflowed(self, instance: Instance, message: OutputOverflow) -> None:
        """Find room for an answer larger than expected."""
        execution = instance.executions.get(message.batch)
        if execution is None:
            instance.late_answers += 1
            return
        pending = execution.batch.pieces[0].pending
        if pending.settled:
            return  # it is being closed
        try:
            instance.enlarge(message)
        except ArenaFull as error:
            self._break_off(instance, message.batch, pending, error)

    def _break_off(
        self, instance: Instance, number: int, pending: Pending, error: ServingError
    ) -> None:
        if not pending.settled:
            self._fail(pending, error)
            _stop(instance, number)

    def _running(self) -> Iterator[tuple[Instance, int, DecoupledPending]]:
        """Every generator that is wanted."""
        for instance in self.instances:
            for number, execution in instance.executions.items():
                pending = execution.batch.pieces[0].pending
                if isinstance(pending, DecoupledPending) and not pending.settled:
                    yield instance, number, pending

    def _find(self, pending: Pending) -> tuple[Instance, int] | None:
        for instance, number, each in self._running():
            if each is pending:
                return instance, number
        return None


def _advance(instance: Instance, number: int) -> None:
    # Where the worker is gone the thread that reads the link sees it too and removes the instance.
    with suppress(PeerGone):
        instance.advance(number)


def _stop(instance: Instance, number: int) -> None:
    with suppress(PeerGone):
        instance.stop(number)
