"""What a busy worker is sent, and what is held back until the door has read on."""

from __future__ import annotations

import pytest

from support.requests import lane
from support.scene import Scene


def test_a_full_batch_lies_ready_at_a_busy_worker(scene: Scene) -> None:
    """Waiting could not make it larger; one that is not full waits, and so does a third one."""
    (instance, worker), on = scene.attach(), lane(2)
    scene.send(on)
    scene.send(on, 2)  # nothing is known yet of how long a batch takes
    assert instance.outstanding == 1
    scene.read(instance)
    scene.read(instance)

    first, _ = scene.send(on), scene.send(on)
    assert (instance.outstanding, scene.deployment.waiting) == (1, 1)
    scene.send(on)
    assert (instance.outstanding, scene.deployment.waiting) == (2, 0)
    scene.send(on, 2)
    assert (instance.outstanding, scene.deployment.waiting) == (2, 1)
    scene.read(instance)
    assert first.answer
    assert (instance.outstanding, scene.deployment.waiting) == (2, 0)
    scene.read(instance)
    scene.read(instance)
    assert worker.batches == [1, 2, 1, 2, 2]


def test_with_two_workers_nothing_lies_ready(scene: Scene) -> None:
    """The other one might be free sooner."""
    (one, _), on = scene.attach(), lane(1)
    scene.send(on)
    scene.read(one)
    other, _ = scene.attach()
    for _ in range(4):
        scene.send(on)
    assert (one.outstanding, other.outstanding, scene.deployment.waiting) == (1, 1, 2)


def test_a_ready_batch_without_room_waits_its_turn(scene: Scene) -> None:
    """Room comes when the batch under way has ended: nobody fails for it."""
    (instance, _), on = scene.attach(), lane(1, row_nbytes=300_000)
    scene.send(on)
    scene.read(instance)
    first, second = scene.send(on), scene.send(on)
    assert (instance.outstanding, scene.deployment.waiting) == (1, 1)
    scene.read(instance)
    scene.read(instance)
    assert first.answer
    assert second.answer


def test_a_batch_is_held_while_the_door_reads_on(scene: Scene) -> None:
    """It goes when it is full or the door is through; a lone caller's is never held."""
    (instance, _), on = scene.attach(), lane(2)
    scene.send(on)
    scene.conclude(instance, busy=True)
    assert not scene.deployment.held
    scene.send(on)
    second = scene.send(on)
    scene.clock.now += 0.010
    scene.conclude(instance, busy=True)
    assert scene.deployment.held
    assert instance.outstanding == 0
    assert scene.deployment.next_event() == pytest.approx(scene.clock.now + 0.005)
    third = scene.send(on)  # now it is full
    assert not scene.deployment.held
    assert instance.outstanding == 1
    scene.send(on)
    scene.conclude(instance, busy=True)
    assert second.answer
    assert third.answer
    assert scene.deployment.held
    scene.deployment.dispatch()  # the door is through, or the time is up
    assert not scene.deployment.held
    assert instance.outstanding == 1
