"""Batches held for what the door still reads, and callers asked after when they wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.dispatcher import Dispatcher
from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.scheduling.waiting.lull import Lull
from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED
from inferd.wire.errors import InvalidRequest, OutputInvalid, ServingError
from inferd.wire.signature import Signature
from support.link_worker import LinkWorker, link_to
from support.requests import Recorded, lane


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Scene:
    """A dispatcher whose thread is the test, with one deployment on one worker."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.dispatcher = Dispatcher(
            now=self.clock, drained=lambda _: None, lost=lambda _: None, changed=lambda: None
        )
        info = DeploymentInfo(
            number=1, model="m", version=1, platform="test", signature=Signature((), ()),
            takes_parameters=False, max_queue_size=99, max_queue_delay=0.0, instances=(),
        )  # fmt: skip
        self.deployment = Deployment(
            info, Statistics(), max_batch_bytes=1 << 20, now=self.clock, epoch_ms=lambda: 7
        )
        self.worker = LinkWorker()
        self.instance = Instance(1, link_to(self.worker), depth=1, max_arena_bytes=1 << 20)
        self.dispatcher.add(self.deployment)
        self.dispatcher.attach(self.deployment, self.instance)
        self.on = lane(4)

    def send(self) -> Recorded:
        """A request of one row that arrives now."""
        pending = Recorded(self.on, arrived=self.clock.now)
        self.dispatcher.submit(self.deployment, pending)
        return pending

    def answer(self) -> None:
        """The worker's next answer is read."""
        self.dispatcher._serve(self.deployment, self.instance)

    def read_a_crowd(self, took: float) -> None:
        """The calling thread is the door's from now on; the last batch had two and took so long."""
        for _ in range(3):
            self.send()
        self.answer()
        self.clock.now += took
        self.answer()
        self.dispatcher.lull.read_here()
        self.dispatcher.lull.idle = False

    def woken(self) -> bool:
        """Whether the dispatcher's thread was woken since this was asked last."""
        try:
            return os.eventfd_read(self.dispatcher._wake) > 0
        except BlockingIOError:
            return False


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A dispatcher that is not started."""
    made = Scene()
    yield made
    made.instance.close()


def test_a_batch_goes_when_the_door_has_read_all(scene: Scene) -> None:
    """Held while it reads, with what it reads meanwhile; at once where it is idle."""
    for _ in range(3):
        scene.send()
    scene.answer()
    assert scene.instance.outstanding == 1  # the door is idle: the other two went at once
    scene.dispatcher.lull.idle = False
    scene.send()
    scene.clock.now += 0.001
    scene.answer()
    assert scene.dispatcher.lull.wanted
    scene.send()
    assert scene.instance.outstanding == 0
    scene.dispatcher.lull.reached()
    assert not scene.dispatcher.lull.wanted
    scene.answer()
    assert scene.worker.batches == [1, 2, 2]


def test_a_door_that_never_rests_holds_a_batch_for_a_bounded_time(scene: Scene) -> None:
    """Half as long as the last one took; then the thread of the links lets it go."""
    scene.send()
    scene.send()
    scene.dispatcher.lull.idle = False
    scene.clock.now += 0.010
    scene.answer()
    assert scene.instance.outstanding == 0
    assert scene.dispatcher._timeout() == pytest.approx(0.005)
    scene.clock.now += 0.006
    scene.dispatcher._ring()
    assert scene.instance.outstanding == 1


def test_what_comes_to_an_empty_queue_is_held_no_longer(scene: Scene) -> None:
    """The time is watched though nothing waits when the last batch ends."""
    scene.send()
    scene.send()
    scene.send()
    scene.answer()
    scene.dispatcher.lull.idle = False
    scene.clock.now += 0.010
    scene.answer()
    scene.send()
    assert scene.instance.outstanding == 0
    assert scene.dispatcher._timeout() == pytest.approx(0.005)
    scene.clock.now += 0.006
    scene.dispatcher._ring()
    assert scene.instance.outstanding == 1


def test_a_burst_goes_together_when_the_door_has_read_it(scene: Scene) -> None:
    """Its first request is held though the worker is free, and wakes no thread for that."""
    scene.read_a_crowd(took=0.010)
    scene.send()  # sets the alarm that asks after callers, as one does from time to time
    scene.dispatcher.lull.reached()
    scene.clock.now += 0.004
    scene.answer()
    scene.woken()
    scene.send()
    assert scene.instance.outstanding == 0
    assert scene.dispatcher.lull.wanted
    scene.send()
    scene.send()
    scene.dispatcher.lull.reached()
    assert not scene.dispatcher.lull.wanted
    scene.answer()
    assert not scene.woken()
    assert scene.worker.batches == [1, 2, 1, 3]


def test_a_door_that_is_stuck_holds_a_quick_batch_until_callers_are_asked_after(
    scene: Scene,
) -> None:
    """The alarm for the oldest request that is not answered lets it go."""
    scene.read_a_crowd(took=0.010)
    scene.send()
    assert 0 < (scene.dispatcher._timeout() or 0) <= UNANSWERED
    scene.clock.now += UNANSWERED
    scene.dispatcher._ring()
    assert scene.instance.outstanding == 1


def test_a_door_that_is_stuck_holds_a_slow_batch_for_half_of_the_last_one(scene: Scene) -> None:
    """Where no caller is remembered to be asked after, the alarm is set for it, and told."""
    scene.read_a_crowd(took=0.030)
    scene.woken()
    scene.send()
    assert scene.instance.outstanding == 0
    assert scene.dispatcher._timeout() == pytest.approx(0.015)
    assert scene.woken()
    scene.clock.now += 0.016
    scene.dispatcher._ring()
    assert scene.instance.outstanding == 1


def test_only_the_thread_that_reads_waits_for_itself(scene: Scene) -> None:
    """Another door's request goes at once: the one that reads might go to sleep just now."""
    scene.read_a_crowd(took=0.010)
    other = threading.Thread(target=scene.send)
    other.start()
    other.join()
    assert scene.instance.outstanding == 1
    assert not scene.dispatcher.lull.wanted


def test_nobody_is_held_before_a_door_has_said_that_it_reads() -> None:
    """Behind a door that does not know what has arrived, no lull would come."""
    lull = Lull(lambda: None)
    assert not lull.ask()
    assert not lull.wanted
    lull.read_here()
    assert lull.ask()
    assert lull.wanted


def test_a_lone_caller_costs_no_look(scene: Scene) -> None:
    """It goes at once, and the door is not asked for anything, once two batches had one request."""
    scene.read_a_crowd(took=0.010)
    for _ in range(2):
        scene.send()
        scene.dispatcher.lull.reached()
        scene.answer()
    scene.send()
    assert scene.instance.outstanding == 1
    assert not scene.dispatcher.lull.wanted


def test_what_is_held_is_drained_when_the_door_has_read_all(scene: Scene) -> None:
    """A deployment that takes no more requests closes after the one that waits."""
    closed: list[int] = []
    scene.dispatcher._drained = closed.append
    scene.read_a_crowd(took=0.010)
    pending = scene.send()
    scene.dispatcher.drain(scene.deployment)
    assert closed == []
    scene.dispatcher.lull.reached()
    scene.answer()
    assert pending.answer
    assert closed == [1]


def test_a_held_request_whose_caller_leaves_lets_the_deployment_close(scene: Scene) -> None:
    """Nothing waits any more, and the lull that comes later finds nothing to do."""
    closed: list[int] = []
    scene.dispatcher._drained = closed.append
    scene.read_a_crowd(took=0.100)
    pending = scene.send()
    scene.dispatcher.drain(scene.deployment)
    assert pending.on_cancel
    pending.on_cancel()
    assert closed == [1]
    scene.dispatcher.lull.reached()
    assert scene.worker.batches == [1, 2]


def test_callers_are_asked_after_once_they_have_waited(scene: Scene) -> None:
    """At once where nothing is known of the model yet; later ones only if they wait."""
    first = scene.send()
    assert first.on_cancel
    scene.clock.now += 0.001
    scene.answer()
    quick = scene.send()
    waiting = scene.send()
    scene.answer()
    assert not quick.on_cancel
    scene.clock.now += UNANSWERED
    scene.dispatcher._ring()
    assert not quick.on_cancel  # it has its answer
    assert waiting.on_cancel
    waiting.on_cancel()
    assert waiting.settled


@pytest.mark.parametrize(
    ("error", "logged"), [(OutputInvalid("three outputs"), 1), (InvalidRequest("no room"), 0)]
)
def test_answers_that_do_not_fit_are_logged(scene: Scene, error: ServingError, logged: int) -> None:
    """Where the model is to blame, not the caller, who hears of it either way."""
    pending = scene.send()
    pending.refuses = error
    with capture_logs() as lines:
        scene.answer()
    assert pending.error is error
    assert [(each["model"], each["error"], each["log_level"]) for each in lines] == [
        ("m", error.message, "error")
    ] * logged
