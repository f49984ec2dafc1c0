"""The life of one worker, event by event."""

from __future__ import annotations

import pytest

from inferd.server.supervisor.replicas.instance import (
    STOP_BOUND,
    Action,
    Alarm,
    AskToStop,
    Begin,
    Died,
    Event,
    Instance,
    Kill,
    LinkDown,
    LinkLost,
    LinkUp,
    ModelLoaded,
    ModelRefused,
    Phase,
    Spawn,
    Stop,
    WakeAt,
)
from inferd.server.supervisor.replicas.restart import RestartPolicy


class Life:
    """An instance and a time that goes on by one second per event."""

    def __init__(self, *events: Event) -> None:
        self.instance = Instance(load_timeout=10, policy=RestartPolicy())
        self.now = 0.0
        for event in events:
            self.see(event)

    def see(self, event: Event) -> list[Action]:
        """What it does about an event."""
        actions = self.instance.handle(event, now=self.now)
        self.now += 1
        return actions

    def at(self, phase: Phase) -> bool:
        """Whether it is there on its way."""
        return self.instance.phase is phase


def test_a_good_start() -> None:
    """Spawned with a deadline, loaded, attached."""
    life = Life()
    assert life.see(Begin()) == [Spawn(), WakeAt(10.0)]
    assert life.at(Phase.LOADING)
    assert life.see(ModelLoaded()) == [WakeAt(None)]
    assert life.at(Phase.LOADED)
    assert life.see(LinkUp()) == []
    assert life.at(Phase.ATTACHED)
    assert life.instance.reason == ""


def test_a_model_that_does_not_load_at_first_is_not_tried_again() -> None:
    """The reason is the worker's own; no restart loop."""
    life = Life(Begin(), ModelRefused("bad weights"))
    assert life.see(Died("exit code 1")) == [WakeAt(None)]
    assert life.at(Phase.FAILED)
    assert life.instance.reason == "bad weights"


def test_a_worker_that_dies_while_loading_at_first_has_failed() -> None:
    """Without its own words, how it ended is the reason."""
    life = Life(Begin(), Died("signal 11"))
    assert life.at(Phase.FAILED)
    assert life.instance.reason == "worker died while loading (signal 11)"


def test_loading_that_takes_too_long_is_ended() -> None:
    """It is killed, and the reason is the time."""
    life = Life(Begin())
    assert life.see(Alarm()) == [Kill(), WakeAt(None)]
    life.see(Died("signal 9"))
    assert life.at(Phase.FAILED)
    assert life.instance.reason == "loading took longer than 10 s"


def test_a_refusing_worker_that_lingers_is_ended() -> None:
    """It has said why; it is given a bounded time to go."""
    life = Life(Begin())
    assert life.see(ModelRefused("no")) == [WakeAt(1 + STOP_BOUND)]
    assert life.see(Alarm()) == [Kill(), WakeAt(None)]
    life.see(Died("signal 9"))
    assert life.instance.reason == "no"


@pytest.mark.parametrize("events", [(), (LinkUp(),), (LinkUp(), LinkDown())])
def test_a_worker_that_served_is_started_again(events: tuple[Event, ...]) -> None:
    """With back-off and a reason; then it loads and is attached as before."""
    life = Life(Begin(), ModelLoaded(), *events)
    died = life.now
    assert life.see(Died("signal 9")) == [WakeAt(died + 0.1)]
    assert life.at(Phase.WAITING)
    assert life.instance.reason == "worker died (signal 9), restarting in 0.1 s"
    assert life.see(Alarm())[0] == Spawn()
    assert life.instance.reason == "worker died (signal 9), loading again"
    life.see(ModelLoaded())
    assert life.at(Phase.LOADED)
    assert life.instance.reason == ""


def test_failing_to_load_again_is_tried_again_later() -> None:
    """What served once is not given up; the wait grows."""
    life = Life(Begin(), ModelLoaded(), Died("signal 9"), Alarm(), ModelRefused("no memory"))
    died = life.now
    assert life.see(Died("exit code 1")) == [WakeAt(died + 0.2)]
    assert life.instance.reason == "no memory, restarting in 0.2 s"


def test_a_crash_loop_is_called_one() -> None:
    """After five deaths in a minute."""
    life = Life(Begin(), ModelLoaded())
    for _ in range(4):
        life.see(Died("signal 6"))
        assert not life.instance.crash_looping
        life.see(Alarm())
        life.see(ModelLoaded())
    life.see(Died("signal 6"))
    assert life.instance.crash_looping
    assert life.instance.reason.startswith("crash-looping: worker died (signal 6)")


def test_a_gateway_that_goes_leaves_the_worker_loaded() -> None:
    """Its link is gone, its model stays, and a new link attaches it."""
    life = Life(Begin(), ModelLoaded(), LinkUp())
    assert life.see(LinkDown()) == []
    assert life.at(Phase.LOADED)
    life.see(LinkUp())
    assert life.at(Phase.ATTACHED)


def test_a_worker_that_the_gateway_gave_up_is_replaced() -> None:
    """Nothing can reach it any more; one that is loading again is left alone."""
    life = Life(Begin(), ModelLoaded(), LinkUp())
    assert life.see(LinkLost()) == [Kill()]
    early = Life(Begin(), ModelLoaded())  # one gateway had it, another was still to take it
    assert early.see(LinkLost()) == [Kill()]
    life.see(Died("signal 9"))
    assert life.see(Alarm())[0] == Spawn()
    assert life.see(LinkLost()) == []


def test_a_serving_worker_is_asked_to_stop_and_made_to() -> None:
    """Asked first, killed after a bound, stopped when dead; never started again."""
    life = Life(Begin(), ModelLoaded(), LinkUp())
    now = life.now
    assert life.see(Stop()) == [AskToStop(), WakeAt(now + STOP_BOUND)]
    assert life.see(Stop()) == []
    assert life.see(Alarm()) == [Kill(), WakeAt(None)]
    assert life.see(Died("signal 9")) == [WakeAt(None)]
    assert life.at(Phase.STOPPED)


def test_a_loading_worker_is_stopped_at_once() -> None:
    """It has no batch to finish."""
    life = Life(Begin())
    assert life.see(Stop()) == [Kill(), WakeAt(None)]
    life.see(ModelLoaded())  # on its way when it was killed
    assert life.at(Phase.STOPPING)
    life.see(Died("signal 9"))
    assert life.at(Phase.STOPPED)


@pytest.mark.parametrize(
    "events",
    [(), (Begin(), Died("x")), (Begin(), ModelLoaded(), Died("x"))],
    ids=["new", "failed", "waiting"],
)
def test_without_a_process_stopping_is_done_at_once(events: tuple[Event, ...]) -> None:
    """Nothing is spawned afterwards, whatever comes late."""
    life = Life(*events)
    assert life.see(Stop()) == [WakeAt(None)]
    assert life.at(Phase.STOPPED)
    for late in (Alarm(), Begin(), ModelLoaded(), LinkUp(), Died("x"), Stop()):
        assert Spawn() not in life.see(late)
    assert life.at(Phase.STOPPED)


def test_late_events_change_nothing() -> None:
    """A link that comes up for a worker that has died meanwhile does not make it serve."""
    life = Life(Begin(), ModelLoaded(), Died("signal 9"))
    life.see(LinkUp())
    assert life.at(Phase.WAITING)
    life.see(LinkDown())
    assert life.at(Phase.WAITING)
