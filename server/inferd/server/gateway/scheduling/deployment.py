"""One generation of one model version: its queue, its instances, and what happens between."""

from __future__ import annotations

from collections.abc import Callable

from inferd.core.link.messages import OutputOverflow, VersionLoad
from inferd.core.link.sockets import PeerGone
from inferd.server.gateway.scheduling.background.background import Background
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.instance import Completed, Failed, Instance, rows_of
from inferd.server.gateway.scheduling.pending import Pending, unsettled
from inferd.server.gateway.scheduling.queue import Batch, Queue
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.scheduling.tally import Tally, share
from inferd.server.gateway.scheduling.waiting.hold import Hold
from inferd.server.gateway.scheduling.waiting.leaving import leaving
from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED, Unanswered
from inferd.wire.errors import ArenaFull, DeadlineExceeded, ServingError


class Superseded(Exception):
    """The deployment takes no more requests: its model was routed anew or unloaded."""


class Deployment:
    """Hands what waits to instances that are free and settles what comes back.

    Not thread-safe: called under the scheduler's lock, except for `settle`, which the one
    thread that reads the links calls.
    """

    def __init__(
        self,
        info: DeploymentInfo,
        statistics: Statistics,
        *,
        max_batch_bytes: int,
        now: Callable[[], float],
        epoch_ms: Callable[[], int],
    ) -> None:
        self.info = info
        self.statistics = statistics
        self.instances: list[Instance] = []
        self.draining = False
        self._crowded = False
        self._unanswered = Unanswered()
        self._delays = info.max_queue_delay > 0
        self._hold = Hold(delays=self._delays)
        # On a device of its own, batches in messages of their own overlap copying and computing.
        self._steps = all(each.device == "cpu" for each in info.instances)
        self._now = now
        self._looked = 0.0
        self._epoch_ms = epoch_ms
        self._queue = Queue(
            max_size=info.max_queue_size,
            max_delay=info.max_queue_delay,
            max_batch_bytes=max_batch_bytes,
        )
        self._background = Background(max_batch_bytes=max_batch_bytes, steps=self._steps)

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be executed."""
        return bool(self.instances)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._queue.size

    @property
    def quick(self) -> bool:
        """Whether a batch is there and back sooner than it is worth asking after its callers."""
        return self._hold.round < UNANSWERED

    @property
    def held(self) -> bool:
        """Whether the next batch is held."""
        return self._hold.until > 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being executed."""
        waiting = self._queue.size or self._background.queue.size
        return not waiting and not any(each.outstanding for each in self.instances)

    def load(self) -> VersionLoad:
        """What it holds now."""
        waiting, background = self._queue, self._background.queue
        age = self._now() - min(waiting.oldest, background.oldest)
        executed = (run for each in self.instances for run in each.executions.values())
        in_flight = unsettled(piece for run in executed for piece in run.batch.pieces)
        held = (waiting.size + background.size, max(0.0, age), in_flight)
        return VersionLoad(self.info.model, self.info.version, *held)

    def submit(self, pending: Pending, ask: Callable[[], bool] | None = None) -> float:
        """Queue a request and start it if an instance is free.

        It may be held for others first, where `ask` has the door call `dispatch` (`Hold.awaits`).
        Returns when it is to be looked after, if nothing happens before, in monotonic seconds.
        Raises `QueueFull`, `ModelNotReady` while no instance lives, and `Superseded`.
        """
        if self.draining:
            raise Superseded
        if not self.instances:
            raise self.info.not_ready()
        self._queue.add(pending)
        event = pending.deadline
        if self.quick:
            event = min(event, self._unanswered.add(pending))
        hold = self._hold
        if not hold.until or self._queue.full or pending.arrived >= hold.until:
            for instance in self.instances:
                if instance.free or self._may_lie_ready(instance):
                    if hold.company and hold.awaits(pending, self._queue, self.instances, ask):
                        if not self.quick:  # the alarm of quick ones is set; see `Hold.awaits`
                            event = min(event, hold.until)
                    else:
                        self.dispatch()
                    break
        return min(event, self._queue.next_event(self._looked)) if self._delays else event

    def put_by(self, pending: Pending) -> float:
        """As `submit`, for background work: it is executed when nothing else waits."""
        if self.draining:
            raise Superseded
        if not self.instances:
            raise self.info.not_ready()
        self._background.queue.add(pending)
        if not self._hold.until and not self._queue.size:
            self._fill()
        return self.next_event()

    def dispatch(self) -> None:
        """Give every free instance what is due, held or not."""
        self._hold.until = 0.0
        if self._queue.size:
            self._dispatch()
        if self._background.queue.size and not self._queue.size:
            self._fill()

    def _fill(self) -> None:
        """Give background work the capacity that is left."""
        now, background = self._now(), self._background
        for pending in background.queue.expire(now):
            self._fail(pending, DeadlineExceeded("Request timeout expired while it was queued"))
        for instance in self.instances:
            while (batch := background.take(instance, self.instances, now)) is not None:
                if not self._start(instance, batch):
                    break

    def _dispatch(self) -> None:
        now = self._looked = self._now()
        for pending in self._queue.expire(now):
            self._fail(pending, DeadlineExceeded("Request timeout expired while it was queued"))
        for instance in sorted(self.instances, key=lambda each: each.outstanding):
            while self._queue.size and (instance.free or self._may_lie_ready(instance)):
                batch = self._queue.take(now, full=not instance.free)
                if batch is None or not self._start(instance, batch):
                    break

    def _start(self, instance: Instance, batch: Batch) -> bool:
        """Send a batch; whether the instance may be given another one."""
        lies_ready = not instance.free
        try:
            instance.run(batch)
        except ArenaFull as error:
            if lies_ready:
                # There will be room when the batch that is under way has ended.
                (self._background.queue if batch.lane.background else self._queue).give_back(batch)
                self._crowded = True
                return False
            for piece in batch.pieces:
                self._fail(piece.pending, error)
        except PeerGone:
            # The thread that reads the link sees it too and removes the instance.
            for piece in batch.pieces:
                self._fail(piece.pending, self.info.worker_lost())
            return False
        return True

    def _may_lie_ready(self, instance: Instance) -> bool:
        """Whether a full batch may be sent to a busy instance.

        Not where another instance might be free sooner, nor where batches last: what has been sent
        is not forgotten any more when its callers go away.
        """
        return (
            len(self.instances) == 1
            and self.quick
            and not self._crowded
            and instance.takes_full
            and self._queue.full
        )

    def next_event(self) -> float:
        """When `dispatch` has something to do without a new message, in monotonic seconds."""
        # Seen from when it last looked: what has come due since is still to be given away.
        event = self._queue.next_event(self._looked)
        if self._hold.until:  # with nothing waiting, too: what comes next is held as well
            event = min(event, self._hold.until)
        return min(event, self._background.next_event(), self._unanswered.next_event())

    def unanswered(self) -> list[Pending]:
        """The requests whose callers are to be asked after now."""
        return self._unanswered.due(self._now())

    def cancel(self, pending: Pending) -> None:
        """The caller is gone: the request is not executed, if it still waits."""
        if not pending.settled:
            self._forget(pending)
            now = self._now()
            self.statistics.left(now - pending.arrived, leaving(pending.deadline, now))

    def settle(self, outcome: Completed) -> Tally:
        """Answer the callers of a finished batch; `conclude` is then due, under the lock.

        Raises `OutputInvalid`, before any answer, where the outputs cannot be told apart.
        """
        tally = Tally(self.statistics)
        now = self._now()
        layout = outcome.layout
        pieces = outcome.execution.batch.pieces
        stepped = outcome.execution.batch.step
        if (observed := outcome.execution.observed) is not None:
            observed.completed(now, outcome.durations, outcome.began)
        for piece, outputs in zip(pieces, rows_of(outcome), strict=True):
            pending = piece.pending
            pending.unfinished -= 1
            if pending.settled:
                continue
            if piece.rows != pending.rows or stepped:
                tally.settle_split(piece, outcome, outputs, now)
                continue
            try:
                pending.answered(layout, outputs)
            except ServingError as error:
                tally.unfit.append((pending, error))
                continue
            pending.settled = True
            pending.buffers = ()  # it may still be looked at, its tensors not
            tally.requests += 1
            tally.timed(pending, now)
        return tally

    def conclude(
        self, instance: Instance, outcome: Completed, tally: Tally, *, busy: bool = False
    ) -> None:
        """Count a finished batch, free its slots and start what is due next.

        While the door is `busy` reading requests that have arrived, the next batch is held, for a
        bounded time, until it is full or `dispatch` is called.
        """
        batch = outcome.execution.batch
        self._count(outcome)
        tally.count(outcome.durations)
        for pending, error in tally.unfit:
            self._fail(pending, error)
        instance.release(outcome.number)
        self._crowded = False
        now = self._now()
        took = now - batch.taken
        if batch.lane.background:
            self._background.concluded(batch, now, outcome.durations)
        else:
            self._hold.concluded(batch.pieces, took)
            self._background.pace.ordinary(now, took)
        # A lone caller's next request would gain nothing by it.
        if busy and (batch.rows > 1 or self._queue.size) and not self._queue.full:
            self._hold.begin(now, took)
        else:
            self.dispatch()

    def _count(self, outcome: Completed) -> None:
        batch, durations = outcome.execution.batch, outcome.durations
        epoch_ms = self._epoch_ms()
        self.statistics.received += outcome.execution.input_nbytes
        self.statistics.sent += sum([len(each) for each in outcome.outputs])
        for rows in batch.sizes:
            self.statistics.executed(rows, share(durations, rows, batch.rows), epoch_ms)
        if self._steps and not batch.lane.background:
            batch.lane.observe_time(batch.rows, batch.executions, sum(durations))

    def abandon(self, instance: Instance, outcome: Failed) -> None:
        """A batch ended in an error: its callers get it, and what is due next starts."""
        outcome.execution.fail(self._now(), outcome.error)
        for piece in outcome.execution.batch.pieces:
            self._fail(piece.pending, outcome.error)
        instance.release(outcome.number)
        self.dispatch()

    def overflowed(self, instance: Instance, message: OutputOverflow) -> None:
        """Find room for outputs larger than expected."""
        if (failed := instance.grant(message)) is not None:
            self.abandon(instance, failed)

    def lost(self, instance: Instance) -> None:
        """The worker is gone: its batches fail, and with the last instance what waits, too."""
        self.instances.remove(instance)
        for execution in instance.close():
            execution.fail(self._now(), self.info.worker_lost())
            for piece in execution.batch.pieces:
                self._fail(piece.pending, self.info.worker_lost())
        if not self.instances:
            for pending in self._queue.clear() + self._background.queue.clear():
                self._fail(pending, self.info.worker_lost())
        else:  # what was left for the one that is gone goes to the others
            self.dispatch()

    def _fail(self, pending: Pending, error: ServingError) -> None:
        if pending.settled:
            return
        self._forget(pending)
        pending.failed(error)
        self.statistics.failed(int((self._now() - pending.arrived) * 1e9), error.reason)

    def _forget(self, pending: Pending) -> None:
        (self._background.queue if pending.lane.background else self._queue).forget(pending)
