"""What becomes of requests that generators answer, step by step over a real link."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import pytest

from inferd.core.link.messages import BatchAnswer, BatchDone, OutputOverflow
from inferd.server.gateway.scheduling.decoupled.deployment import DecoupledDeployment
from inferd.server.gateway.scheduling.decoupled.pending import DecoupledPending
from inferd.server.gateway.scheduling.instance import Completed, Instance
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.wire.errors import DeadlineExceeded, ServingError
from inferd.wire.tensors import Buffer
from support.generating_worker import GeneratingWorker, count
from support.link_worker import link_to
from support.requests import lane
from support.scene import Scene

ALONE = lane(0)


class Heard(DecoupledPending):
    """A request that keeps its answers; `takes` is what it says to each but the last."""

    def __init__(self, arrived: float, deadline: float, until: float) -> None:
        super().__init__(ALONE, 1, [b"\5"], 1, arrived, deadline, until)
        self.answers: list[bytes] = []
        self.ended = False
        self.error: ServingError | None = None
        self.takes = True

    def answer(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> bool:
        """Keep an answer."""
        assert not self.ended
        self.answers += [bytes(each) for each in outputs]
        return self.takes

    def answered(self, layout: OutputLayout, outputs: Sequence[Buffer]) -> None:
        """Keep the last answer."""
        self.answer(layout, outputs)
        self.ended = True

    def failed(self, error: ServingError) -> None:
        """Keep the error."""
        assert not self.ended
        self.error = error
        self.ended = True

    def watch(self, on_cancel: object) -> None:
        """Its caller stays."""


class Stage(Scene):
    """A deployment whose workers yield, driven without threads of the gateway."""

    def __init__(self) -> None:
        super().__init__(kind=DecoupledDeployment)
        assert isinstance(self.deployment, DecoupledDeployment)
        self.decoupled = self.deployment

    def add(self, *, depth: int = 2) -> tuple[Instance, GeneratingWorker]:
        """One more worker, with room for this many generators."""
        worker = GeneratingWorker(lambda x, _: count(x, {"times": 3}))
        number = len(self.deployment.instances)
        instance = Instance(number, link_to(worker), depth=depth, max_arena_bytes=1 << 20)
        self.deployment.instances.append(instance)
        self.deployment.dispatch()
        return instance, worker

    def ask(self, *, wait: float = inf, last: float = inf) -> Heard:
        """A request that waits and lasts this long at most."""
        now = self.clock.now
        pending = Heard(now, now + min(wait, last), now + last)
        self.deployment.submit(pending)
        return pending

    def follow(self, instance: Instance) -> BatchAnswer | BatchDone:
        """The worker's next message, followed as the dispatcher follows it."""
        message = instance.receive()
        assert isinstance(message, BatchAnswer | BatchDone)
        if isinstance(message, BatchDone):
            outcome = instance.conclude(message)
            assert isinstance(outcome, Completed)
            tally = self.deployment.settle(outcome)
            self.deployment.conclude(instance, outcome, tally)
            return message
        outcome = instance.answer(message)
        assert isinstance(outcome, Completed)
        if self.decoupled.pass_on(outcome):
            self.decoupled.advance(instance, message.batch)
        return message


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A deployment without workers."""
    made = Stage()
    yield made
    for instance in made.deployment.instances:
        instance.close()


def test_work_goes_side_by_side_to_who_has_least(stage: Stage) -> None:
    """Up to what each worker takes; the rest waits, and starts when one has ended."""
    (a, _), (b, _) = stage.add(), stage.add()
    heard = [stage.ask() for _ in range(5)]
    assert (a.outstanding, b.outstanding, stage.deployment.waiting) == (2, 2, 1)
    while not heard[0].ended:
        stage.follow(a)
    assert heard[0].answers == [b"\5"] * 3
    assert (a.outstanding, stage.deployment.waiting) == (2, 0)


def test_nothing_is_taken_ahead_of_its_reader(stage: Stage) -> None:
    """A generator whose answer cannot go out yet stands still until it is told to proceed."""
    instance, worker = stage.add()
    held = stage.ask()
    held.takes = False
    stage.follow(instance)
    other = stage.ask()
    while not other.ended:
        stage.follow(instance)
    assert held.answers == [b"\5"]
    assert worker.steps == 1 + 4
    stage.decoupled.proceed(held)
    stage.follow(instance)
    assert held.answers == [b"\5"] * 2
    stage.decoupled.proceed(other)  # it has ended: nothing to do
    assert instance.outstanding == 1


def test_time_is_over_for_those_that_run_too(stage: Stage) -> None:
    """They get an error, their generator is closed, and the next one starts when it is."""
    instance, worker = stage.add(depth=1)
    late = stage.ask(last=5)
    patient = stage.ask()
    stage.follow(instance)
    assert stage.deployment.next_event() == stage.clock.now + 5
    stage.clock.now += 5
    stage.deployment.dispatch()
    assert isinstance(late.error, DeadlineExceeded)
    assert stage.deployment.next_event() == inf
    assert (instance.outstanding, patient.answers) == (1, [])
    while instance.executions[next(iter(instance.executions))].batch.pieces[0].pending is late:
        stage.follow(instance)
    assert worker.closed.get(timeout=10) == 1
    while not patient.ended:
        stage.follow(instance)
    assert (late.answers, patient.answers) == ([b"\5"], [b"\5"] * 3)
    statistics = stage.deployment.statistics
    assert (statistics.success.count, statistics.fail.count) == (1, 1)
    assert stage.deployment.idle


def test_waiting_has_a_bound_of_its_own(stage: Stage) -> None:
    """The request's `timeout` is for the queue: one that has started goes on."""
    instance, _ = stage.add(depth=1)
    started, waits = stage.ask(wait=1), stage.ask(wait=1)
    stage.clock.now += 2
    stage.deployment.dispatch()
    assert isinstance(waits.error, DeadlineExceeded)
    while not started.ended:
        stage.follow(instance)
    assert started.answers == [b"\5"] * 3


def test_who_has_gone_is_not_answered_any_more(stage: Stage) -> None:
    """Its generator is closed; it counts as executed, and as neither success nor failure."""
    instance, worker = stage.add()
    gone = stage.ask()
    stage.follow(instance)
    stage.deployment.cancel(gone)
    stage.deployment.cancel(gone)
    while instance.outstanding:
        stage.follow(instance)
    assert worker.closed.get(timeout=10) == 1
    assert gone.answers == [b"\5"]
    statistics = stage.deployment.statistics
    counted = (statistics.inference_count, statistics.success.count, statistics.fail.count)
    assert counted == (1, 0, 0)
    assert stage.deployment.idle


def test_room_asked_for_too_late_is_not_looked_for(stage: Stage) -> None:
    """The generator is being closed; one that is over is counted as a late answer."""
    instance, _ = stage.add()
    gone = stage.ask()
    stage.follow(instance)
    stage.deployment.cancel(gone)
    stage.deployment.overflowed(instance, OutputOverflow(1, 1 << 30))
    while instance.outstanding:
        stage.follow(instance)
    stage.deployment.overflowed(instance, OutputOverflow(1, 1 << 30))
    assert instance.late_answers == 1
