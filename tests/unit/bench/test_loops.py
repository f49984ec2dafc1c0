"""The two loops on a scripted transport and a clock that only moves when told."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import pytest

from inferd.bench.arrivals import Agenda
from inferd.bench.client.closed import GIVE_UP_AFTER, run_closed
from inferd.bench.client.open import OpenLoop
from inferd.bench.client.record import Record
from inferd.bench.client.transport import CANCELLED, Answer, TransportClosed
from inferd.bench.samples import CUT_OFF


@dataclass
class FakeClock:
    """Sleeping moves it on."""

    now: float = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes, and at least a little of it."""
        self.now += max(seconds, 1e-6)


@dataclass
class ScriptedTransport:
    """Answers each request `takes` seconds after it was taken up, one after the other."""

    clock: FakeClock
    takes: float = 0.1
    code: int = 0
    sent: list[tuple[float, float]] = field(default_factory=list)
    unanswered: deque[float] = field(default_factory=deque)
    most: int = 0
    cancelled: bool = False

    def reach(self, timeout: float) -> str | None:
        """It is there."""
        return None

    def start(self, timeout: float, until: float) -> None:
        """Nothing to prepare."""

    def send(self, tag: float) -> None:
        """Note when, and for when it was meant."""
        if self.cancelled:
            raise TransportClosed
        self.sent.append((tag, self.clock()))
        self.unanswered.append(tag)
        self.most = max(self.most, len(self.unanswered))

    def take(self) -> Answer:
        """The oldest request's answer."""
        self.clock.now += self.takes
        code = CANCELLED if self.cancelled else self.code
        return Answer(self.unanswered.popleft(), code, "out of order" if code else "")

    def finish(self) -> None:
        """Nothing is open."""

    def cancel(self) -> None:
        """From now on requests end as cancelled."""
        self.cancelled = True


def closed(
    transport: ScriptedTransport, *, callers: int, stop: threading.Event | None = None
) -> Record:
    """A closed loop of one second."""
    record = Record()
    run_closed(
        transport,
        record,
        callers=callers,
        end=1.0,
        stop=stop or threading.Event(),
        clock=transport.clock,
    )
    return record


@pytest.mark.parametrize("callers", [1, 4])
def test_callers_wait_for_their_answers(callers: int) -> None:
    """Never more requests in flight than callers, none sent after the end, all answers taken."""
    transport = ScriptedTransport(FakeClock())
    record = closed(transport, callers=callers)
    assert transport.most == callers
    assert all(at < 1.0 for _, at in transport.sent)
    assert not transport.unanswered
    assert record.answered == len(transport.sent)


def test_a_server_that_only_fails_is_not_hammered() -> None:
    """Without a single answer the load ends early, and tells the first message."""
    transport = ScriptedTransport(FakeClock(), takes=1e-6, code=14)
    record = closed(transport, callers=2)
    assert GIVE_UP_AFTER <= record.failed <= GIVE_UP_AFTER + 2
    assert record.texts == {14: "out of order"}


def test_a_stopped_loop_cuts_off_what_is_unanswered() -> None:
    """It counts as cut off, not as cancelled by the server."""
    clock, stop = FakeClock(), threading.Event()
    transport = ScriptedTransport(clock)
    first = transport.take

    def take() -> Answer:
        transport.cancel()
        stop.set()
        return first()

    transport.take = take  # type: ignore[method-assign] # the stop comes while a caller waits
    record = closed(transport, callers=3, stop=stop)
    assert record.samples().codes.tolist() == [CUT_OFF] * 3
    assert record.failed == 0


def test_an_open_loop_sends_when_due_whatever_was_answered() -> None:
    """Each request under its own time, to all connections in turn."""
    clock = FakeClock()
    transports = [ScriptedTransport(clock, takes=0.0) for _ in range(2)]
    records = [Record(), Record()]
    agenda = Agenda([0.1, 0.2, 0.3, 0.4, 0.5])
    loop = OpenLoop(
        transports,
        records,
        agenda,
        most_unanswered=10,
        stop=threading.Event(),
        clock=clock,
        sleep=clock.sleep,
    )
    loop.run()
    assert [tag for tag, _ in transports[0].sent] == [0.1, 0.3, 0.5]
    assert [tag for tag, _ in transports[1].sent] == [0.2, 0.4]
    assert [len(record) for record in records] == [3, 2]
    assert all(at >= tag for each in transports for tag, at in each.sent)


def test_a_held_up_sender_catches_up_at_once() -> None:
    """A client that stood still for a second sends all that is due, and records how late."""
    clock = FakeClock(now=1.05)
    transport, record = ScriptedTransport(clock, takes=0.0), Record()
    agenda = Agenda([0.0, 0.5, 1.0])
    OpenLoop(
        [transport],
        [record],
        agenda,
        most_unanswered=10,
        stop=threading.Event(),
        clock=clock,
        sleep=clock.sleep,
    ).run()
    assert transport.sent == [(0.0, 1.05), (0.5, 1.05), (1.0, 1.05)]
    assert agenda.late == pytest.approx([1.05, 0.55, 0.05])
    latencies = record.samples().finished - record.samples().intended
    assert latencies == pytest.approx([1.05, 0.55, 0.05])


def test_what_does_not_fit_in_memory_is_counted() -> None:
    """The schedule does not wait: requests beyond the bound are not sent, and that is told."""
    clock, answering = FakeClock(), threading.Event()
    transport, record = ScriptedTransport(clock, takes=0.0), Record()
    first = transport.take

    def take() -> Answer:
        assert answering.wait(10)
        return first()

    transport.take = take  # type: ignore[method-assign] # nothing is answered for now

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 1:  # after the five, before the last one
            answering.set()

    loop = OpenLoop(
        [transport],
        [record],
        Agenda([0.1, 0.2, 0.3, 0.4, 0.5, 9.0]),
        most_unanswered=2,
        stop=threading.Event(),
        clock=clock,
        sleep=sleep,
    )
    loop.run()
    assert [tag for tag, _ in transport.sent][:2] == [0.1, 0.2]
    assert loop.unsent >= 3
    assert len(transport.sent) + loop.unsent == 6
    assert len(record) == len(transport.sent)
