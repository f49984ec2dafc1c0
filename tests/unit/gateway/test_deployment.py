"""What happens between a queue and its instances, step by step over a real link."""

from __future__ import annotations

from math import inf

import pytest

from inferd.core.link.messages import BatchDone, BatchFailed, Fault, SlotTensor
from inferd.server.gateway.scheduling.deployment import Superseded
from inferd.server.gateway.scheduling.instance import Failed
from inferd.wire.errors import (
    DeadlineExceeded,
    ModelFailed,
    ModelNotReady,
    OutputInvalid,
    QueueFull,
    ServingError,
    WorkerLost,
)
from support.requests import lane
from support.scene import Scene


def test_without_a_worker_nothing_is_queued(scene: Scene) -> None:
    """Callers learn at once that it is being restarted; a drained one sends them elsewhere."""
    with pytest.raises(ModelNotReady) as caught:
        scene.send(lane())
    assert caught.value.retry_after
    assert not scene.deployment.ready
    scene.deployment.draining = True
    with pytest.raises(Superseded):
        scene.send(lane())


def test_a_request_runs_as_soon_as_a_worker_is_free(scene: Scene) -> None:
    """It is answered with its own bytes, and the next in line starts at once."""
    instance, worker = scene.attach()
    first = scene.send(lane())
    second = scene.send(lane())
    assert (instance.outstanding, scene.deployment.waiting) == (1, 1)
    scene.read(instance)
    assert first.answer == ((("INT8", (1,)),), [b"\0"])
    assert second.answer is None
    scene.read(instance)
    assert second.answer
    assert scene.deployment.idle
    assert worker.batches == [1, 1]


def test_work_goes_to_the_worker_that_has_least(scene: Scene) -> None:
    """Two free workers take one request each."""
    (a, _), (b, _) = scene.attach(), scene.attach()
    scene.send(lane())
    scene.send(lane())
    assert (a.outstanding, b.outstanding) == (1, 1)


def test_times_are_those_of_each_request(scene: Scene) -> None:
    """One that joins the rest of a split request is charged its own waiting, never less than 0."""
    instance, _ = scene.attach()
    on = lane(4)
    scene.send(on, 5)
    scene.clock.now += 2
    joins = scene.send(on, 1)
    scene.clock.now += 3
    scene.read(instance)
    scene.clock.now += 1
    scene.read(instance)
    assert joins.answer
    statistics = scene.deployment.statistics
    assert (statistics.success.count, statistics.success.ns) == (2, (6 + 4) * 10**9)
    assert (statistics.queue.count, statistics.queue.ns) == (2, (0 + 3) * 10**9)
    assert (statistics.inference_count, statistics.execution_count) == (6, 2)
    assert statistics.last_inference == 7
    # The split request bears both executions, the other one of them.
    assert (statistics.compute_infer.count, statistics.compute_infer.ns) == (2, 3 * 2_000)


def test_deadlines_are_looked_at_before_anything_runs(scene: Scene) -> None:
    """An expired request does not take a place in the batch that starts now."""
    instance, worker = scene.attach()
    scene.send(lane())
    expires, stays = scene.send(lane(), deadline=101.0), scene.send(lane())
    assert scene.deployment.next_event() == 101.0
    scene.clock.now = 101.0
    scene.read(instance)
    assert isinstance(expires.error, DeadlineExceeded)
    scene.read(instance)
    assert stays.answer
    assert worker.batches == [1, 1]
    assert scene.deployment.statistics.fail.count == 1


def test_a_delay_that_ends_between_two_looks_is_not_missed() -> None:
    """What came due since `dispatch` looked has its moment, or a free worker would sleep on."""
    scene = Scene(delay=1.0)
    instance, _ = scene.attach()
    pending = scene.send(lane())
    scene.clock.now += 2
    assert scene.deployment.next_event() == 101.0
    scene.deployment.dispatch()
    scene.read(instance)
    assert pending.answer
    assert scene.deployment.next_event() == inf
    instance.close()


def test_a_full_queue_is_told_and_what_runs_does_not_count(scene: Scene) -> None:
    """Eight wait beside the one that runs; the tenth is refused."""
    scene.attach()
    for _ in range(9):
        scene.send(lane())
    with pytest.raises(QueueFull):
        scene.send(lane())


def test_a_failed_batch_fails_its_requests_and_frees_its_worker(scene: Scene) -> None:
    """With the error that the fault names; one of another name is internal all the same."""
    instance, worker = scene.attach()
    worker.go.clear()
    for reason, kind in (("MODEL_ERROR", ModelFailed), ("UNHEARD_OF", ServingError)):
        pending = scene.send(lane())
        number = instance._last
        outcome = instance.conclude(BatchFailed(number, Fault(reason, "why")))
        assert isinstance(outcome, Failed)
        scene.deployment.abandon(instance, outcome)
        assert type(pending.error) is kind
        assert scene.deployment.idle


def test_a_lost_worker_takes_only_what_it_held(scene: Scene) -> None:
    """What waits stays for the others, and ends with the last of them."""
    (a, first), (b, second) = scene.attach(), scene.attach()
    for worker in (first, second):
        worker.go.clear()
    held_by_a, held_by_b, waits = (scene.send(lane()) for _ in range(3))
    scene.deployment.lost(a)
    assert isinstance(held_by_a.error, WorkerLost)
    assert (held_by_b.error, waits.error) == (None, None)
    scene.deployment.lost(b)
    assert isinstance(held_by_b.error, WorkerLost)
    assert isinstance(waits.error, WorkerLost)
    assert (scene.deployment.ready, scene.deployment.idle) == (False, True)
    assert scene.deployment.statistics.fail.count == 3


def test_a_split_request_ends_with_its_first_failed_piece(scene: Scene) -> None:
    """The pieces that still wait are not executed; one that runs ends quietly."""
    (a, first), (b, second) = scene.attach(), scene.attach()
    for worker in (first, second):
        worker.go.clear()
    pending = scene.send(lane(4), 12)
    scene.deployment.lost(a)
    assert isinstance(pending.error, WorkerLost)
    second.go.set()
    scene.read(b)
    assert pending.answer is None
    assert scene.deployment.idle
    assert second.batches == [4]


def test_a_cancelled_request_is_never_answered(scene: Scene) -> None:
    """Whether it waits or runs; what it shares a batch with is."""
    instance, worker = scene.attach()
    runs = scene.send(lane())
    scene.deployment.cancel(runs)
    on = lane()
    waits, stays = scene.send(on), scene.send(on)
    scene.deployment.cancel(waits)
    scene.read(instance)
    scene.read(instance)
    assert (runs.answer, runs.error, waits.answer, waits.error) == (None,) * 4
    assert stays.answer
    assert worker.batches == [1, 1]


def test_an_answer_that_does_not_fit_its_request_is_an_error_of_the_model(scene: Scene) -> None:
    """Of the one request; its neighbours in the batch are answered."""
    instance, worker = scene.attach()
    scene.send(lane())
    on = lane()
    unfit, fit = scene.send(on), scene.send(on)
    unfit.refuses = OutputInvalid("three outputs")
    scene.read(instance)
    scene.read(instance)
    assert unfit.error is unfit.refuses
    assert fit.answer
    assert worker.batches == [1, 2]
    assert scene.deployment.statistics.fail.count == 1


@pytest.mark.parametrize("offset", [-64, 1 << 20])
def test_a_worker_cannot_point_outside_its_slot(scene: Scene, offset: int) -> None:
    """Nobody reads the memory of another batch."""
    instance, worker = scene.attach()
    worker.go.clear()
    scene.send(lane())
    outputs = (SlotTensor("INT8", (1, 1), offset, 1),)
    outcome = instance.conclude(BatchDone(instance._last, outputs, 0, 0, 0))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, OutputInvalid)


def test_quick_parts_of_one_request_go_to_the_worker_together(scene: Scene) -> None:
    """As many as take 8 ms by the last batch's time; each counts as the execution that it is."""
    instance, worker = scene.attach()
    worker.times = (0, 2_000_000, 0)  # nanoseconds, for whatever it is given
    pending = scene.send(lane(4), 26)
    while not scene.deployment.idle:
        scene.read(instance)
    assert pending.answer == ((("INT8", (1,)),), [bytes(26)])
    assert worker.messages == [4, 16, 6]  # 2 ms; four of 2 ms; two at 0.5 ms
    statistics = scene.deployment.statistics
    assert (statistics.inference_count, statistics.execution_count) == (26, 7)
    assert {rows: each.compute_infer.count for rows, each in statistics.batches.items()} == {
        4: 6,
        2: 1,
    }
    assert statistics.compute_infer.count == 1
    assert statistics.compute_infer.ns == pytest.approx(6_000_000, abs=10)


def test_slow_parts_of_one_request_go_one_by_one(scene: Scene) -> None:
    """Whoever else waits is to get a turn in between."""
    instance, worker = scene.attach()
    worker.times = (0, 5_000_000, 0)
    scene.send(lane(4), 12)
    while not scene.deployment.idle:
        scene.read(instance)
    assert worker.messages == [4, 4, 4]


def test_what_few_rows_took_tells_nothing_of_parts(scene: Scene) -> None:
    """A quick answer to one row does not let a large request keep the worker to itself."""
    instance, worker = scene.attach()
    worker.times = (0, 400_000, 0)
    on = lane(4)
    scene.send(on)
    scene.read(instance)
    scene.send(on, 12)
    while not scene.deployment.idle:
        scene.read(instance)
    assert worker.messages == [1, 4, 4, 4]  # the second one lies ready when the first one ends


def test_a_request_of_no_rows_is_answered(scene: Scene) -> None:
    """There is nothing to share out what it took by."""
    instance, _ = scene.attach()
    pending = scene.send(lane(4), 0)
    scene.read(instance)
    assert pending.answer == ((("INT8", (1,)),), [b""])
    assert scene.deployment.statistics.success.count == 1
