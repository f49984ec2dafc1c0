"""A deployment of a model that keeps state between the requests of a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inferd.core.link.messages import DropSequence
from inferd.core.link.sockets import PeerGone
from inferd.server.gateway.scheduling.deployment import Deployment, Superseded
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.instance import Completed, Instance
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import Pending
from inferd.server.gateway.scheduling.queue import Batch, Queue
from inferd.server.gateway.scheduling.sequences.active import Sequence, Sequences, Step
from inferd.server.gateway.scheduling.tally import Tally
from inferd.server.gateway.scheduling.waiting.lane_pieces import LanePieces
from inferd.wire.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ServingError,
    Unimplemented,
    WorkerLost,
)


class SequencedDeployment(Deployment):
    """Each request is executed alone, by the instance that keeps its sequence, in their order.

    Every request has a lane to itself, so the queue's order of lanes is that of the requests.
    """

    def __init__(self, info: DeploymentInfo, *given: Any, **more: Any) -> None:
        """`info` has the terms of its sequences."""
        super().__init__(info, *given, **more)
        if info.sequences is None:
            raise ValueError("a model without sequences is no sequenced deployment")
        self._sequences = Sequences(info.model, info.sequences)
        self._pinned = _PinnedQueue(
            max_size=info.max_queue_size,
            max_delay=0.0,
            max_batch_bytes=more["max_batch_bytes"],
        )
        self._queue = self._pinned
        self._delays = True  # so that `submit` tells when a sequence will have been idle

    def submit(self, pending: Pending, ask: Callable[[], bool] | None = None) -> float:
        """Queue a request, never held. Raises as `Deployment.submit` does, and what `Sequences.admit` raises."""
        lane = pending.lane
        if self.draining:
            raise Superseded
        if lane.asked is None:
            raise ValueError("a request without a sequence came to a sequenced deployment")
        if pending.rows > lane.max_rows > 0:
            raise InvalidRequest(
                f"the request has {pending.rows} rows; in a sequence up to {lane.max_rows} are taken, "
                "for each request is one step of it",
                field="inputs",
            )
        if self.instances or not lane.asked.start:
            links = [each.link_number for each in self.instances]
            lane.sequence = self._sequences.admit(lane.asked, links, self._now())
        try:
            event = super().submit(pending)
        except ServingError:
            if lane.sequence is not None:
                self._over(pending)
            raise
        return min(event, self._sequences.next_event())

    def put_by(self, pending: Pending) -> float:
        """Refuse it: a sequence has somebody who waits. Raises `Unimplemented`."""
        raise Unimplemented(
            f"bulk jobs do not take requests of '{self.info.model}', which keeps state between "
            "them; send them with ModelInfer or ModelStreamInfer"
        )

    def dispatch(self) -> None:
        """Give every free instance the next request of its sequences; end those that idle."""
        now = self._looked = self._now()
        for pending in self._queue.expire(now):
            self._fail(pending, DeadlineExceeded("Request timeout expired while it was queued"))
        for sequence in self._sequences.idle(now):
            self._drop(sequence)
        for instance in list(self.instances):
            while self._queue.size and instance.free:
                batch = self._pinned.take_for(instance.link_number, now)
                if batch is None or not self._start(instance, batch):
                    break

    def next_event(self) -> float:
        """When `dispatch` has something to do without a new message, in monotonic seconds."""
        return min(super().next_event(), self._sequences.next_event())

    def cancel(self, pending: Pending) -> None:
        """The caller is gone: the request is not executed, if it still waits."""
        waits = bool(pending.queued) and not pending.settled
        super().cancel(pending)
        if waits:
            self._over(pending)

    def conclude(
        self, instance: Instance, outcome: Completed, tally: Tally, *, busy: bool = False
    ) -> None:
        """Count a finished request and start what is due next; nothing is held for company."""
        for piece in outcome.execution.batch.pieces:
            self._over(piece.pending, done=True)
        super().conclude(instance, outcome, tally, busy=False)

    def lost(self, instance: Instance) -> None:
        """The worker is gone: its sequences are lost, with the requests that wait for them."""
        self._sequences.lose(instance.link_number)
        super().lost(instance)
        for pending in self._pinned.waiting(
            lambda step: step.sequence.link == instance.link_number
        ):
            self._fail(pending, self._sequences.lost_error(_step(pending.lane).told.id))

    def _start(self, instance: Instance, batch: Batch) -> bool:
        sent = super()._start(instance, batch)
        _step(batch.lane).sent = sent
        return sent

    def _may_lie_ready(self, instance: Instance) -> bool:
        return False

    def _fail(self, pending: Pending, error: ServingError) -> None:
        if isinstance(error, WorkerLost):
            error = self._sequences.lost_error(_step(pending.lane).told.id)
        super()._fail(pending, error)
        self._over(pending)

    def _over(self, pending: Pending, *, done: bool = False) -> None:
        step = _step(pending.lane)
        if step.over:
            return
        forget = self._sequences.over(step, self._now(), done=done)
        if step.told.start and not step.sent:
            # What came after it has no state to go on from.
            for each in self._pinned.waiting(lambda other: other.sequence is step.sequence):
                self._fail(each, self._sequences.missing_start(step.told.id))
        if forget:
            self._drop(step.sequence)

    def _drop(self, sequence: Sequence) -> None:
        for instance in self.instances:
            if instance.link_number == sequence.link:
                try:
                    instance.link.send(DropSequence(sequence.number))
                except PeerGone:
                    pass  # its state is gone already


class _PinnedQueue(Queue):
    """A queue in which each request waits for one instance."""

    _link = 0

    def take_for(self, link: int, now: float) -> Batch | None:
        """The oldest request for the instance behind this link."""
        self._link = link
        return self.take(now)

    def waiting(self, fits: Callable[[Step], bool]) -> list[Pending]:
        """The requests that wait and fit, oldest first."""
        return [each for each in self._living() if fits(_step(each.lane))]

    def _due(self, lane: Lane, waiting: LanePieces, arrived: float, now: float) -> bool:
        return _step(lane).sequence.link == self._link


def _step(lane: Lane) -> Step:
    if lane.sequence is None:
        raise ValueError("a request without a sequence waits in a sequenced deployment")
    return lane.sequence
