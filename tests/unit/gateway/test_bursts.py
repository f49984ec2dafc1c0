"""The first request of a burst, held for the others or not, by what is known of company."""

from __future__ import annotations

import pytest

from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED
from inferd.wire.errors import WorkerLost
from support.link_worker import LinkWorker
from support.requests import Recorded, lane
from support.scene import Scene


class Door:
    """Counts how often it is asked to tell when it has read all."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> bool:
        """It will tell."""
        self.asked += 1
        return True


@pytest.fixture
def door() -> Door:
    """A door that reads."""
    return Door()


def after_a_crowd(scene: Scene, on: Lane, took: float = 0.010) -> tuple[Instance, LinkWorker]:
    """A worker that is free, and whose last batch had two requests and took so long."""
    instance, worker = scene.attach()
    for _ in range(3):
        scene.send(on)
    scene.read(instance)
    scene.clock.now += took
    scene.read(instance)
    assert worker.batches == [1, 2]
    worker.batches.clear()
    return instance, worker


def test_the_first_waits_for_the_others_of_its_burst(scene: Scene, door: Door) -> None:
    """Until `dispatch` is called; the door is asked once for all of them."""
    on = lane(4)
    instance, worker = after_a_crowd(scene, on)
    for _ in range(3):
        scene.send(on, ask=door.ask)
    assert (instance.outstanding, scene.deployment.held, door.asked) == (0, True, 1)
    scene.deployment.dispatch()
    assert not scene.deployment.held
    scene.read(instance)
    assert worker.batches == [3]


def test_a_full_batch_waits_for_nobody(scene: Scene, door: Door) -> None:
    """It goes as soon as the last request that it takes has been read."""
    on = lane(4)
    instance, worker = after_a_crowd(scene, on)
    for _ in range(4):
        scene.send(on, ask=door.ask)
    assert not scene.deployment.held
    scene.read(instance)
    assert worker.batches == [4]


@pytest.mark.parametrize("alone", [0, 1])
def test_what_is_executed_alone_goes_at_once(scene: Scene, door: Door, alone: int) -> None:
    """Whatever came before: company would gain it nothing."""
    instance, _ = after_a_crowd(scene, lane(4))
    scene.send(lane(alone), ask=door.ask)
    assert (instance.outstanding, door.asked) == (1, 0)


def test_a_lone_caller_is_not_held(scene: Scene, door: Door) -> None:
    """From the third of its requests on after a crowd; one of a crowd may well have come alone."""
    on = lane(4)
    instance, _ = after_a_crowd(scene, on)
    held = []
    for _ in range(4):
        scene.send(on, ask=door.ask)
        held.append(scene.deployment.held)
        scene.deployment.dispatch()
        scene.read(instance)
    assert held == [True, True, False, False]
    assert door.asked == 2


def test_the_parts_of_one_request_are_no_company(scene: Scene, door: Door) -> None:
    """A lone caller of large requests is not held either."""
    on = lane(4)
    instance, worker = scene.attach()
    worker.times = (0, 2_000_000, 0)
    scene.send(on, 12)
    scene.read(instance)
    scene.read(instance)
    assert worker.messages == [4, 8]
    scene.send(on, ask=door.ask)
    assert (instance.outstanding, door.asked) == (1, 0)


def test_free_workers_get_requests_at_once_up_to_the_last(scene: Scene, door: Door) -> None:
    """Spread they are answered soonest; what would take the last one is held."""
    on = lane(4)
    first, _ = after_a_crowd(scene, on)
    second, _ = scene.attach()
    scene.send(on, ask=door.ask)
    assert (first.outstanding + second.outstanding, door.asked) == (1, 0)
    scene.send(on, ask=door.ask)
    scene.send(on, ask=door.ask)
    assert (first.outstanding + second.outstanding, scene.deployment.waiting) == (1, 2)
    scene.deployment.dispatch()
    assert (first.outstanding + second.outstanding, scene.deployment.waiting) == (2, 0)


def test_where_no_door_will_tell_nothing_is_held(scene: Scene) -> None:
    """It was asked by a thread that is not its own, or there is none to ask."""
    on = lane(4)
    instance, _ = after_a_crowd(scene, on)
    for answer in (lambda: False, None):
        scene.send(on, ask=answer)
        assert (instance.outstanding, scene.deployment.held) == (1, False)
        scene.read(instance)


def test_a_request_that_comes_too_late_takes_along_what_is_held(scene: Scene, door: Door) -> None:
    """Half as long as the last batch took is the most; the door itself sees it."""
    on = lane(4)
    instance, worker = after_a_crowd(scene, on, took=0.010)
    scene.send(on, ask=door.ask)
    scene.clock.now += 0.004
    scene.send(on, ask=door.ask)
    assert instance.outstanding == 0
    scene.clock.now += 0.002
    scene.send(on, ask=door.ask)
    assert (scene.deployment.held, door.asked) == (False, 1)
    scene.read(instance)
    assert worker.batches == [3]


@pytest.mark.parametrize(
    ("took", "looked_after"), [(0.010, UNANSWERED), (0.030, 0.015), (2.0, UNANSWERED)]
)
def test_only_slow_batches_set_an_alarm_for_it(
    scene: Scene, door: Door, took: float, looked_after: float
) -> None:
    """Of quick ones the alarm that asks after callers is bound enough; nothing is held for longer."""
    on = lane(4)
    after_a_crowd(scene, on, took)
    pending = Recorded(on, arrived=scene.clock.now)
    event = scene.deployment.submit(pending, door.ask)
    assert scene.deployment.held
    assert event - scene.clock.now == pytest.approx(looked_after)


def test_a_delay_is_all_the_holding_there_is(door: Door) -> None:
    """Where requests are told to wait for others, the door is not asked."""
    scene, on = Scene(delay=1.0), lane(2)
    instance, _ = scene.attach()
    for _ in range(2):
        scene.send(on)
    scene.read(instance)
    scene.send(on, ask=door.ask)
    assert (instance.outstanding, scene.deployment.waiting, door.asked) == (0, 1, 0)
    assert scene.deployment.next_event() == scene.clock.now + UNANSWERED
    scene.clock.now += 1.0
    scene.deployment.dispatch()
    assert instance.outstanding == 1
    instance.close()


def test_one_that_is_held_may_be_given_up(scene: Scene, door: Door) -> None:
    """It is not executed, and what comes after it is."""
    on = lane(4)
    instance, worker = after_a_crowd(scene, on)
    leaves = scene.send(on, ask=door.ask)
    scene.deployment.cancel(leaves)
    stays = scene.send(on, ask=door.ask)
    scene.deployment.dispatch()
    scene.read(instance)
    assert (leaves.answer, leaves.error) == (None, None)
    assert stays.answer
    assert worker.batches == [1]


def test_background_work_does_not_take_the_place_of_one_that_is_held(
    scene: Scene, door: Door
) -> None:
    """The worker is free for the burst, not for what runs when nobody calls."""
    on = lane(4)
    instance, _ = after_a_crowd(scene, on)
    held = scene.send(on, ask=door.ask)
    scene.deployment.put_by(Recorded(on.in_background(), arrived=scene.clock.now))
    assert instance.outstanding == 0
    scene.deployment.dispatch()
    scene.read(instance)
    assert held.answer


def test_a_lost_worker_lets_go_what_is_held(scene: Scene, door: Door) -> None:
    """To the one that is left; with the last one it fails."""
    on = lane(4)
    last, _ = after_a_crowd(scene, on)
    other, _ = scene.attach()
    scene.send(on)  # takes one of the two
    busy, free = (last, other) if last.outstanding else (other, last)
    held = scene.send(on, ask=door.ask)
    assert scene.deployment.held
    scene.deployment.lost(busy)
    assert free.outstanding == 1
    scene.deployment.lost(free)
    assert isinstance(held.error, WorkerLost)


def test_one_held_fails_with_the_only_worker_and_the_next_is_not(scene: Scene, door: Door) -> None:
    """The worker that comes instead finds nothing held."""
    on = lane(4)
    instance, _ = after_a_crowd(scene, on)
    held = scene.send(on, ask=door.ask)
    scene.deployment.lost(instance)
    assert isinstance(held.error, WorkerLost)
    scene.attach()
    assert not scene.deployment.held
