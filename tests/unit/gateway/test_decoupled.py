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
from inferd.server.gateway.scheduling.statistics import (
    MOST_RESPONSES,
    Duration,
    ResponseStatistics,
    Statistics,
)
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
        goes_on = self.decoupled.pass_on(outcome)
        if goes_on is not None:
            self.decoupled.passed_on(instance, outcome, goes_on=goes_on)
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
    assert worker.advanced == 1 + 4
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


def test_answers_are_counted_by_their_index(stage: Stage) -> None:
    """Each with the time of its own step; an end without an answer as an empty one in its place."""
    instance, _ = stage.add()
    for _ in range(2):
        heard = stage.ask()
        while not heard.ended:
            stage.follow(instance)
    answer = ResponseStatistics(Duration(2, 20), Duration(2, 2), Duration(2, 22))
    # The fake worker says 2,000 ns for all four steps, of which the first three took 30.
    end = ResponseStatistics(Duration(2, 2 * 1970), empty_response=Duration(2, 2 * 1970))
    assert stage.deployment.statistics.responses == [answer, answer, answer, end]


def test_what_ends_a_generator_early_is_counted_in_the_place_of_its_next_answer(
    stage: Stage,
) -> None:
    """A failure with the time since that answer was asked for, a cancel with what closing took."""
    instance, _ = stage.add()
    gone, late = stage.ask(), stage.ask(last=5)
    stage.follow(instance)
    stage.follow(instance)
    stage.clock.now += 1
    stage.deployment.cancel(gone)
    stage.clock.now += 4
    stage.deployment.dispatch()
    while instance.outstanding:
        stage.follow(instance)
    assert (len(gone.answers), len(late.answers)) == (1, 1)
    first, second = stage.deployment.statistics.responses
    assert (first.success.count, first.fail.count, first.cancel.count) == (2, 0, 0)
    assert second.cancel == Duration(1, 4_000_000_000)
    assert second.fail == second.compute_infer == Duration(1, 5_000_000_000)
    assert second.success.count == 0


def test_a_request_that_never_ran_has_no_answers_to_count(stage: Stage) -> None:
    """Neither one that ran out of time in the queue nor one whose caller left there."""
    instance, _ = stage.add(depth=1)
    runs, late, left = stage.ask(), stage.ask(wait=1), stage.ask()
    stage.deployment.cancel(left)
    stage.clock.now += 2
    stage.deployment.dispatch()
    assert late.error is not None
    assert (runs.error, instance.outstanding, stage.deployment.waiting) == (None, 1, 0)
    assert stage.deployment.statistics.responses == []


def test_answers_beyond_the_last_index_are_counted_together() -> None:
    """Whatever a model yields, its counts stay small."""
    statistics = Statistics()
    for index in range(3 * MOST_RESPONSES):
        statistics.response(index).succeeded(1, 1)
    assert [each.success.count for each in statistics.responses] == [
        *[1] * (MOST_RESPONSES - 1),
        2 * MOST_RESPONSES + 1,
    ]
