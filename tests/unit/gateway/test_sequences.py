"""Sequences: where each lives, in what order it runs, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import pytest

from inferd.core.link.messages import SequenceTerms
from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.sequences.active import SequenceAsk
from inferd.wire.errors import (
    DeadlineExceeded,
    Exhausted,
    InvalidRequest,
    ModelNotReady,
    QueueFull,
    SequenceLost,
)
from support.link_worker import LinkWorker
from support.requests import Recorded, lane
from support.scene import Scene

TERMS = SequenceTerms(idle_timeout=10.0, max_active=3)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A deployment with sequences, without workers."""
    made = Scene(sequences=TERMS)
    yield made
    for instance in made.deployment.instances:
        instance.close()


def send(
    scene: Scene, name: int | str, flags: str = "", *, rows: int = 1, deadline: float = inf
) -> Recorded:
    """A request of a sequence; `flags` are `s` for its start and `e` for its end."""
    on = lane().in_sequence(SequenceAsk(name, start="s" in flags, end="e" in flags))
    return scene.send(on, rows, deadline)


def steps(worker: LinkWorker) -> list[tuple[int | str, str]]:
    """The requests that a worker had, in their order."""
    return [
        (each.id, "s" * each.start + "e" * each.end) for each in worker.steps if each is not None
    ]


def drained(scene: Scene, instance: Instance) -> None:
    """Let an instance answer all that it is given."""
    while instance.outstanding:
        scene.read(instance)


def test_requests_of_a_sequence_run_in_their_order_on_one_instance(scene: Scene) -> None:
    """Sequences are spread over the instances; nobody else's worker helps out."""
    (a, first), (b, second) = scene.attach(), scene.attach()
    one = [send(scene, 1, "s"), send(scene, 1), send(scene, 1)]
    other = send(scene, "x", "s")
    assert (a.outstanding, b.outstanding, scene.deployment.waiting) == (1, 1, 2)
    scene.read(b)
    assert other.answer
    assert b.outstanding == 0
    one.append(send(scene, 1, "e"))
    drained(scene, a)
    assert all(each.answer for each in one)
    assert steps(first) == [(1, "s"), (1, ""), (1, ""), (1, "e")]
    assert steps(second) == [("x", "s")]
    assert first.batches == [1] * 4  # requests of one shape, each alone all the same


def test_a_sequence_begins_with_its_start(scene: Scene) -> None:
    """And is over with its end: after that its id is as good as new."""
    a, worker = scene.attach()
    with pytest.raises(InvalidRequest, match="sequence 1 to model 'm' must specify the START flag"):
        send(scene, 1)
    send(scene, 1, "se")
    with pytest.raises(InvalidRequest, match="START flag"):
        send(scene, 1)
    send(scene, 1, "s")
    drained(scene, a)
    numbers = [each.number for each in worker.steps if each is not None]
    assert len(set(numbers)) == 2
    assert worker.dropped == []


def test_a_second_start_begins_anew_where_it_was(scene: Scene) -> None:
    """On the same instance, behind what is under way."""
    (a, first), (_, second) = scene.attach(), scene.attach()
    send(scene, 1, "s")
    send(scene, 1, "s")
    drained(scene, a)
    assert steps(first) == [(1, "s"), (1, "s")]
    assert second.steps == []


def test_sequences_that_idle_are_over(scene: Scene) -> None:
    """The worker is told; one with a request under way does not idle."""
    a, worker = scene.attach()
    send(scene, 1, "s")
    send(scene, 2, "s")
    scene.read(a)
    assert scene.deployment.next_event() == 110.0
    scene.clock.now = 110.0
    scene.deployment.dispatch()
    with pytest.raises(InvalidRequest, match="idle for 10 s is over"):
        send(scene, 1)
    scene.read(a)
    send(scene, 2)
    scene.read(a)
    worker.die()
    assert worker.dropped == [1]
    assert scene.deployment.next_event() == 120.0


def test_active_sequences_are_counted(scene: Scene) -> None:
    """Those that have ended are not."""
    a, _ = scene.attach()
    for name in (1, 2, 3):
        send(scene, name, "s")
    with pytest.raises(Exhausted) as caught:
        send(scene, 4, "s")
    assert caught.value.reason == "TOO_MANY_SEQUENCES"
    send(scene, 1, "e")
    send(scene, 4, "s")
    drained(scene, a)


def test_a_lost_worker_loses_its_sequences_alone(scene: Scene) -> None:
    """Those under way, those that wait, those that come later; only a start helps."""
    (a, worker), (b, _) = scene.attach(), scene.attach()
    held = [send(scene, 1, "s"), send(scene, 1)]
    send(scene, 2, "s")
    worker.go.clear()
    scene.read(b)
    scene.deployment.lost(a)
    for each in held:
        assert isinstance(each.error, SequenceLost) or each.answer
    assert isinstance(held[1].error, SequenceLost)
    with pytest.raises(SequenceLost):
        send(scene, 1)
    assert send(scene, 2) is not None
    send(scene, 1, "s")
    send(scene, 1)
    drained(scene, b)
    scene.deployment.lost(b)
    with pytest.raises(SequenceLost):
        send(scene, 2)
    with pytest.raises(ModelNotReady):
        send(scene, 3, "s")


def test_a_start_that_is_given_up_takes_its_sequence_along(scene: Scene) -> None:
    """What waits behind it would have no state to go on from."""
    a, worker = scene.attach()
    blocks = send(scene, 1, "s")
    start, behind = send(scene, 2, "s"), send(scene, 2)
    scene.deployment.cancel(start)
    assert isinstance(behind.error, InvalidRequest)
    assert "START" in behind.error.message
    with pytest.raises(InvalidRequest):
        send(scene, 2)
    late, behind = send(scene, 3, "s", deadline=101.0), send(scene, 3)
    scene.clock.now = 101.0
    scene.read(a)
    assert isinstance(late.error, DeadlineExceeded)
    assert isinstance(behind.error, InvalidRequest)
    assert blocks.answer
    assert steps(worker) == [(1, "s")]
    assert scene.deployment.idle


def test_an_end_that_is_given_up_ends_all_the_same(scene: Scene) -> None:
    """The worker is told once what came before it is done."""
    a, worker = scene.attach()
    first, second = send(scene, 1, "s"), send(scene, 1)
    end = send(scene, 1, "e")
    scene.deployment.cancel(end)
    assert worker.dropped == []
    drained(scene, a)
    assert first.answer
    assert second.answer
    worker.die()
    assert worker.dropped == [1]


def test_others_that_are_given_up_do_not_matter(scene: Scene) -> None:
    """The sequence goes on without them, executing or not."""
    a, worker = scene.attach()
    executing = send(scene, 1, "s")
    waiting = send(scene, 1)
    scene.deployment.cancel(waiting)
    scene.deployment.cancel(executing)
    end = send(scene, 1, "e")
    drained(scene, a)
    assert end.answer
    assert steps(worker) == [(1, "s"), (1, "e")]


def test_a_full_queue_refuses_without_a_trace(scene: Scene) -> None:
    """A sequence whose start was refused has not begun; another's goes on."""
    a, _ = scene.attach()
    send(scene, 1, "s")
    for _ in range(8):
        send(scene, 1)
    with pytest.raises(QueueFull):
        send(scene, 2, "s")
    with pytest.raises(QueueFull):
        send(scene, 1)
    drained(scene, a)
    with pytest.raises(InvalidRequest):
        send(scene, 2)
    send(scene, 1)
    drained(scene, a)


def test_requests_are_not_split(scene: Scene) -> None:
    """Each is one step of its sequence."""
    scene.attach()
    with pytest.raises(InvalidRequest, match="up to 4 are taken"):
        send(scene, 1, "s", rows=5)
