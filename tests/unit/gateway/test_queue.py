"""The queue decides what runs next, without a clock of its own."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferd.server.gateway.scheduling.queue import Batch, Queue
from inferd.wire.errors import QueueFull
from support.requests import Recorded, lane


def queue(*, size: int = 100, delay: float = 0.0, nbytes: int = 1 << 20) -> Queue:
    """A queue with these limits."""
    return Queue(max_size=size, max_delay=delay, max_batch_bytes=nbytes)


def taken(batch: Batch | None) -> list[tuple[object, int, int]]:
    """The pieces of a batch: request, first row, rows."""
    assert batch is not None
    assert batch.rows == sum(piece.rows for piece in batch.pieces)
    return [(piece.pending, piece.first_row, piece.rows) for piece in batch.pieces]


def test_whoever_asks_gets_what_waits_at_once() -> None:
    """Without a delay a single request is a batch: no instance idles while something waits."""
    q, one = queue(), Recorded(lane())
    q.add(one)
    assert taken(q.take(0)) == [(one, 0, 1)]
    assert one.taken == 0
    assert q.take(0) is None
    assert q.size == 0


def test_the_oldest_is_the_first_that_still_waits() -> None:
    """Of all lanes; whoever was given up before does not wait any more."""
    q = queue()
    assert q.oldest == inf
    gone, other, late = (
        Recorded(lane(), arrived=1.0), Recorded(lane(), arrived=2.0), Recorded(lane(), arrived=3.0)
    )  # fmt: skip
    q.add(gone)
    q.add(late)
    assert q.oldest == 1.0
    q.forget(gone)
    assert q.oldest == 3.0
    q.add(other)
    assert q.oldest == 2.0


def test_what_waits_is_batched_up_to_the_lanes_rows() -> None:
    """Requests leave in their order, none is torn apart that fits into one batch."""
    q, on = queue(), lane(4)
    requests = [Recorded(on, rows, arrived=i) for i, rows in enumerate([2, 1, 2, 1])]
    for each in requests:
        q.add(each)
    a, b, c, d = requests
    assert taken(q.take(9)) == [(a, 0, 2), (b, 0, 1)]
    assert taken(q.take(9)) == [(c, 0, 2), (d, 0, 1)]
    assert q.size == 0


def test_lanes_never_mix_and_the_oldest_head_goes_first() -> None:
    """Two shapes make two batches, in the order in which their heads arrived."""
    q, wide, narrow = queue(), lane(row_nbytes=9), lane()
    a, b, c = Recorded(wide, arrived=2), Recorded(narrow, arrived=1), Recorded(wide, arrived=3)
    for each in (a, b, c):
        q.add(each)
    assert taken(q.take(5)) == [(b, 0, 1)]
    assert taken(q.take(5)) == [(a, 0, 1), (c, 0, 1)]


def test_a_lane_without_batching_gives_one_request_at_a_time() -> None:
    """Zero rows mean that each request is executed alone."""
    q, on = queue(), lane(0)
    a, b = Recorded(on), Recorded(on)
    q.add(a)
    q.add(b)
    assert taken(q.take(0)) == [(a, 0, 1)]
    assert taken(q.take(0)) == [(b, 0, 1)]


def test_a_request_larger_than_a_batch_is_split() -> None:
    """Its last piece shares a batch; it counts as waiting until the last piece left."""
    q, on = queue(), lane(4)
    big, small = Recorded(on, 9), Recorded(on, 2, arrived=1)
    q.add(big)
    q.add(small)
    assert (big.queued, big.unfinished, q.size) == (3, 3, 2)
    assert taken(q.take(1)) == [(big, 0, 4)]
    assert taken(q.take(2)) == [(big, 4, 4)]
    assert q.size == 2
    assert taken(q.take(3)) == [(big, 8, 1), (small, 0, 2)]
    assert (q.size, big.taken, small.taken) == (0, 1, 3)


def test_a_batch_is_bounded_in_bytes() -> None:
    """Requests that together exceed the limit go apart; one that exceeds it alone still goes."""
    q, on = queue(nbytes=10), lane(100, row_nbytes=4)
    a, b, c = Recorded(on, 2), Recorded(on, 1), Recorded(on, 9)
    for each in (a, b, c):
        q.add(each)
    assert taken(q.take(0)) == [(a, 0, 2)]
    assert taken(q.take(0)) == [(b, 0, 1)]
    assert taken(q.take(0)) == [(c, 0, 9)]


def test_a_delay_holds_a_batch_that_is_not_full() -> None:
    """It goes when its oldest request is that old, and the queue knows when that will be."""
    q, on = queue(delay=0.5), lane(4)
    a, b = Recorded(on, arrived=1.0), Recorded(on, arrived=1.4)
    q.add(a)
    q.add(b)
    assert q.take(1.49) is None
    assert q.next_event(1.49) == 1.5
    assert taken(q.take(1.5)) == [(a, 0, 1), (b, 0, 1)]
    assert q.next_event(1.5) == inf


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    """Enough rows are due at once, whole lanes without batching too; the rest waits its time."""
    q, on = queue(delay=0.5), lane(4)
    a, b = Recorded(on, 3, arrived=1.0), Recorded(on, 2, arrived=1.1)
    q.add(a)
    q.add(b)
    assert taken(q.take(1.1)) == [(a, 0, 3)]
    assert q.take(1.1) is None
    assert q.next_event(1.1) == pytest.approx(1.6)
    alone = Recorded(lane(0), arrived=1.2)
    q.add(alone)
    assert taken(q.take(1.2)) == [(alone, 0, 1)]


def test_what_is_due_already_waits_for_an_instance_not_the_clock() -> None:
    """Otherwise the thread that keeps the time would spin while all instances are busy."""
    q = queue(delay=0.5)
    q.add(Recorded(lane(), arrived=1.0, deadline=9.0))
    assert q.next_event(2.0) == 9.0


def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    """The limit counts requests, however many pieces they have."""
    q, on = queue(size=2), lane(4)
    q.add(Recorded(on, 9))
    q.add(Recorded(on))
    with pytest.raises(QueueFull, match="2 requests wait"):
        q.add(Recorded(on))
    for _ in range(3):
        q.take(0)
    q.add(Recorded(on))
    assert q.size == 1


def test_deadlines_pass_in_the_queue() -> None:
    """Each expired request is named once it is due, in whatever lane; the next one is known."""
    q, on = queue(), lane(1)
    late, later, never = (
        Recorded(on, 3, deadline=2),
        Recorded(lane(), deadline=5),
        Recorded(on),
    )
    for each in (never, late, later):
        q.add(each)
    assert q.next_event(0) == 2
    assert q.expire(1.9) == []
    assert q.expire(2) == [late]
    q.forget(late)
    assert q.next_event(2) == 5
    assert q.expire(6) == [later]
    q.forget(later)
    assert (q.size, q.next_event(6)) == (1, inf)
    assert [taken(q.take(6)), q.take(6)] == [[(never, 0, 1)], None]


def test_a_forgotten_request_is_not_executed() -> None:
    """Neither whole nor any piece that still waits; its place is free at once."""
    q, on = queue(size=2), lane(2)
    split, gone, kept = Recorded(on, 5), Recorded(on), Recorded(on)
    q.add(split)
    q.add(gone)
    assert taken(q.take(0)) == [(split, 0, 2)]
    q.forget(split)
    q.forget(gone)
    q.forget(gone)
    assert q.size == 0
    q.add(kept)
    assert taken(q.take(0)) == [(kept, 0, 1)]
    assert q.take(0) is None


def test_forgetting_what_is_executed_frees_no_place_twice() -> None:
    """A request that left the queue whole does not count any more."""
    q, a, b = queue(), Recorded(lane()), Recorded(lane())
    q.add(a)
    q.take(0)
    q.add(b)
    q.forget(a)
    assert a.settled
    assert q.size == 1


def test_forgotten_requests_do_not_pile_up() -> None:
    """Callers who come and go while a worker is busy leave no tensors behind."""
    q, on = queue(size=10), lane(4)
    kept = Recorded(on)
    q.add(kept)
    for n in range(500):
        each = Recorded(lane(4) if n % 2 else on)
        q.add(each)
        q.forget(each)
    held = sum(len(waiting.pieces) for waiting in q._lanes.values())
    assert held < 50
    assert taken(q.take(0)) == [(kept, 0, 1)]


def test_clearing_names_each_request_once() -> None:
    """What waits is handed over for its end, a split request once."""
    q, on = queue(), lane(2)
    a, b, gone = Recorded(on, 5), Recorded(lane()), Recorded(on)
    for each in (a, b, gone):
        q.add(each)
    q.forget(gone)
    assert q.clear() == [a, b]
    for each in (a, b):
        q.forget(each)
    assert (q.size, q.take(0), q.next_event(0)) == (0, None, inf)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9), st.integers(0, 2)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


class Life:
    """A queue through any sequence of events, and which rows of which request left it."""

    def __init__(self, delay: float) -> None:
        self.queue = queue(size=8, delay=delay, nbytes=6)
        self.lanes = [lane(4), lane(3, row_nbytes=2), lane(0)]
        self.requests: list[Recorded] = []
        self.rows: dict[int, list[int]] = {}

    def add(self, now: float, rows: int, which: int) -> None:
        """A request arrives, or is refused by a queue that is full."""
        on = self.lanes[which]
        new = Recorded(on, rows if on.batches else 1, arrived=now, deadline=now + 20)
        if self.queue.size == 8:
            with pytest.raises(QueueFull):
                self.queue.add(new)
        else:
            self.queue.add(new)
            self.requests.append(new)

    def take(self, now: float) -> bool:
        """An instance asks; whether it got something."""
        batch = self.queue.take(now)
        for piece in batch.pieces if batch else ():
            assert not piece.pending.settled
            assert batch is not None
            assert piece.pending.lane is batch.lane
            rows = range(piece.first_row, piece.first_row + piece.rows)
            self.rows.setdefault(id(piece.pending), []).extend(rows)
        return batch is not None

    def forget(self, which: int) -> None:
        """A caller leaves."""
        if which < len(self.requests):
            self.queue.forget(self.requests[which])

    def expire(self, now: float) -> None:
        """The clock rings."""
        for each in self.queue.expire(now):
            assert each.deadline <= now
            self.queue.forget(each)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(_STEPS, st.sampled_from([0.0, 3.0]))
def test_every_row_leaves_once(steps: list[tuple[str, int, int]], delay: float) -> None:
    """Whatever happens in whatever order, each row is taken once or its request is forgotten."""
    life = Life(delay)
    for now, (step, n, which) in enumerate(steps):
        if step == "add":
            life.add(now, n, which)
        elif step == "take":
            life.take(now)
        elif step == "forget":
            life.forget(n)
        else:
            life.expire(now)
        assert life.queue.size == sum(1 for each in life.requests if each.queued)
    while life.take(1e9):
        pass
    for each in life.requests:
        if not each.settled:
            assert life.rows[id(each)] == list(range(each.rows))
    assert life.queue.size == 0
    assert not life.queue._lanes
