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
from inferd.server.gateway.scheduling.tally import Tally
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
        if found is not None and isinstance(pending, DecoupledPending):
            pending.left = self._now()
            _stop(*found)

    def pass_on(self, outcome: Completed) -> bool | None:
        """Send a generator's answer; whether it may take its next step at once.

        `passed_on` is then due, under the lock. None: nobody wants it, and it was not sent. Raises
        `OutputInvalid`.
        """
        pending = _pending_of(outcome)
        if pending.settled:
            return None
        self.statistics.sent += sum([len(each) for each in outcome.outputs])
        goes_on = pending.answer(outcome.layout, outcome.outputs)
        pending.sent += 1
        return goes_on

    def passed_on(self, instance: Instance, outcome: Completed, *, goes_on: bool) -> None:
        """Count an answer that was sent; where the generator goes on, let it, unless it was closed."""
        pending = _pending_of(outcome)
        self.statistics.response(pending.sent - 1).succeeded(*_step_times(pending, outcome))
        if goes_on and not pending.settled:
            self._advance(instance, outcome.number, pending)

    def conclude(
        self, instance: Instance, outcome: Completed, tally: Tally, *, busy: bool = False
    ) -> None:
        """As `Deployment.conclude`; the last answer, or that there was none, is counted as such."""
        pending = _pending_of(outcome)
        self._count_leaving(pending)
        if tally.requests:
            infer_ns, output_ns = _step_times(pending, outcome)
            response = self.statistics.response(pending.sent)
            if outcome.outputs:
                response.succeeded(infer_ns, output_ns)
            else:
                response.empty(infer_ns)
        super().conclude(instance, outcome, tally, busy=busy)

    def abandon(self, instance: Instance, outcome: Failed) -> None:
        """As `Deployment.abandon`."""
        self._count_leaving(_pending_of(outcome))
        super().abandon(instance, outcome)

    def proceed(self, pending: Pending) -> None:
        """Its answers are read again: let the generator take its next step."""
        found = self._find(pending)
        if found is not None and isinstance(pending, DecoupledPending):
            self._advance(*found, pending)

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

    def _advance(self, instance: Instance, number: int, pending: DecoupledPending) -> None:
        pending.asked = self._now()
        # Where the worker is gone the thread that reads the link sees it too and removes the instance.
        with suppress(PeerGone):
            instance.advance(number)

    def _count_leaving(self, pending: DecoupledPending) -> None:
        """Where the generator was closed because its caller had left: that, and how long it took."""
        if pending.left:
            response = self.statistics.response(pending.sent)
            response.cancel.add(int((self._now() - pending.left) * 1e9))

    def _fail(self, pending: Pending, error: ServingError) -> None:
        if pending.taken and not pending.settled and isinstance(pending, DecoupledPending):
            ns = int((self._now() - max(pending.taken, pending.asked)) * 1e9)
            response = self.statistics.response(pending.sent)
            response.compute_infer.add(ns)
            response.fail.add(ns)
        super()._fail(pending, error)

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


def _pending_of(outcome: Completed | Failed) -> DecoupledPending:
    pending = outcome.execution.batch.pieces[0].pending
    assert isinstance(pending, DecoupledPending)
    return pending


def _step_times(pending: DecoupledPending, outcome: Completed) -> tuple[int, int]:
    """Nanoseconds of a generator's last step, in the model and of copying out."""
    infer_ns, output_ns = pending.told
    pending.told = outcome.durations[1:]
    return max(0, pending.told[0] - infer_ns), max(0, pending.told[1] - output_ns)


def _stop(instance: Instance, number: int) -> None:
    with suppress(PeerGone):
        instance.stop(number)
