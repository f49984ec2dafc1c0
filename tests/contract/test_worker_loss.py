"""A worker that dies takes its batches with it, and nothing else."""

from __future__ import annotations

import grpc
import pytest
from structlog.testing import capture_logs

from inferd.core.link.messages import BatchDone, InstanceLost
from support.calls import ROWS, begin, call, rows, values_of
from support.descriptors import arenas, descriptors
from support.gateway import INSTANCE, GatewayUnderTest
from support.link_worker import LinkWorker


def test_calls_of_a_lost_worker_end_with_a_retry_hint(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Those it held and those that waited for it; later ones learn that it is being restarted."""
    worker = LinkWorker()
    deployment = gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = [begin(channel, rows([[0]] * 9))]
    assert worker.arrived.acquire(timeout=10)
    for _ in range(5):
        begun.append(begin(channel, rows([[0]])))
        call(channel, b"", "ServerLive")
    worker.die()
    for each in begun:
        outcome = each.outcome()
        assert (outcome.code.name, outcome.reason) == ("UNAVAILABLE", "WORKER_LOST")
        assert outcome.retry_after
    outcome = call(channel, rows([[0]]))
    assert (outcome.code.name, outcome.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")
    assert outcome.retry_after
    gateway.attach(deployment, LinkWorker())
    assert values_of(call(channel, rows([[7]]))) == [[7]]


def test_what_waits_goes_to_the_workers_that_live(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Only the batch in the dead worker's hands fails."""
    dying, living = LinkWorker(), LinkWorker()
    gateway.deploy("m", ROWS, [dying, living])
    for worker in (dying, living):
        worker.go.clear()
    first = begin(channel, rows([[1]]))
    assert dying.arrived.acquire(timeout=10)
    second = begin(channel, rows([[2]]))
    assert living.arrived.acquire(timeout=10)
    waiting = begin(channel, rows([[3]]))
    call(channel, b"", "ServerLive")
    dying.die()
    assert first.outcome().reason == "WORKER_LOST"
    living.go.set()
    assert values_of(second.outcome()) == [[2]]
    assert values_of(waiting.outcome()) == [[3]]
    assert living.batches == [1, 1]


def test_nothing_of_a_lost_worker_is_left(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Its arenas are unmapped and closed on both sides, again and again."""
    deployment = gateway.deploy("m", ROWS, [])
    call(channel, b"", "ServerLive")  # the connection has descriptors of its own
    before = arenas(), descriptors()
    for _ in range(5):
        worker = LinkWorker()
        gateway.attach(deployment, worker)
        assert call(channel, rows([[0] * 300_000])).code is grpc.StatusCode.OK
        assert worker.arrived.acquire(timeout=10)
        assert arenas() > before[0]
        worker.go.clear()
        held = begin(channel, rows([[0] * 600_000]))
        assert worker.arrived.acquire(timeout=10)
        worker.die()
        assert held.outcome().reason == "WORKER_LOST"
    while call(channel, rows([[0]])).reason != "MODEL_NOT_READY":
        pass
    assert arenas() == before[0]
    assert descriptors().items() <= before[1].items()


def test_a_worker_that_speaks_nonsense_is_cut_off(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The others go on being served, the supervisor learns of it, and the log says which it is."""
    mad, sane = LinkWorker(), LinkWorker()
    deployment = gateway.deploy("mad", ROWS, [mad])
    gateway.deploy("m", ROWS, [sane])
    mad.go.clear()
    held = begin(channel, rows([[0]], model="mad"))
    assert mad.arrived.acquire(timeout=10)
    with capture_logs() as lines:
        mad._socket._sock.send(b"\xc1nonsense")
        assert held.outcome().reason == "WORKER_LOST"
        assert gateway.expect(InstanceLost).link == deployment + 1
        assert values_of(call(channel, rows([[7]]))) == [[7]]
    (lost,) = [each for each in lines if each["event"] == "worker lost"]
    assert (lost["model"], lost["instance"]) == ("mad", INSTANCE)
    mad.go.set()


def test_answers_to_nothing_are_ignored(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """A batch number that is over or never was changes nothing."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker._socket.send(BatchDone(99, (), 0, 0, 0))
    assert values_of(call(channel, rows([[7]]))) == [[7]]
    worker._socket.send(BatchDone(1, (), 0, 0, 0))
    assert values_of(call(channel, rows([[8]]))) == [[8]]


@pytest.mark.parametrize("again", range(3))
def test_fifty_calls_and_a_death_all_end(
    gateway: GatewayUnderTest, channel: grpc.Channel, again: int
) -> None:
    """Each is answered rightly or told that its worker was lost, at whatever moment it dies."""
    dying, living = LinkWorker(), LinkWorker()
    gateway.deploy("m", ROWS, [dying, living])
    begun = [begin(channel, rows([[n]])) for n in range(50)]
    for _ in range(again):
        dying.arrived.acquire(timeout=0.2)
    dying.die()
    for n, each in enumerate(begun):
        outcome = each.outcome()
        if outcome.code is grpc.StatusCode.OK:
            assert values_of(outcome) == [[n]]
        else:
            assert outcome.reason == "WORKER_LOST"
    assert values_of(call(channel, rows([[7]]))) == [[7]]
