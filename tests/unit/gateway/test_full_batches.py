"""Batches that more requests would not make larger."""

from __future__ import annotations

from inferd.server.gateway.scheduling.queue import Batch, Queue
from support.requests import Recorded, lane


def queue(*, size: int = 100, delay: float = 0.0, nbytes: int = 1 << 20) -> Queue:
    """A queue with these limits."""
    return Queue(max_size=size, max_delay=delay, max_batch_bytes=nbytes)


def taken(batch: Batch | None) -> list[tuple[object, int, int]]:
    """The pieces of a batch: request, first row, rows."""
    assert batch is not None
    assert batch.rows == sum(piece.rows for piece in batch.pieces)
    return [(piece.pending, piece.first_row, piece.rows) for piece in batch.pieces]


def test_requests_are_joined_up_to_fewer_rows_than_one_may_have() -> None:
    """A request of more rows than are worth joining is still executed as one."""
    q, on = queue(), lane(8, joined_rows=4)
    a, b, c, big = Recorded(on, 3), Recorded(on, 1), Recorded(on, 1), Recorded(on, 7)
    for each in (a, b, c, big):
        q.add(each)
    assert q.full
    assert taken(q.take(0)) == [(a, 0, 3), (b, 0, 1)]
    assert taken(q.take(0)) == [(c, 0, 1)]
    assert taken(q.take(0)) == [(big, 0, 7)]


def test_a_full_batch_does_not_overtake_an_older_request_of_another_lane() -> None:
    """Asked for full batches alone, again and again, the queue would starve the other lane."""
    q, busy, rare = queue(), lane(2), lane(2, row_nbytes=3)
    old = Recorded(rare, arrived=1)
    q.add(old)
    for arrived in (2, 3):
        q.add(Recorded(busy, arrived=arrived))
    assert q.full
    assert q.take(9, full=True) is None
    assert taken(q.take(9)) == [(old, 0, 1)]
    assert q.take(9, full=True)


def test_a_batch_given_back_lies_where_it_lay() -> None:
    """As if it had never been taken: order, counts, and when each left the queue."""
    q, on = queue(), lane(4)
    big, small, last = Recorded(on, 6), Recorded(on, 2, arrived=1), Recorded(on, arrived=2)
    for each in (big, small, last):
        q.add(each)
    q.take(1)
    batch = q.take(2)
    expected = [(big, 4, 2), (small, 0, 2)]
    assert taken(batch) == expected
    assert (q.size, q.full) == (1, False)
    assert batch is not None
    q.give_back(batch)
    assert (q.size, q.full, big.taken, small.taken) == (3, True, 1, 0.0)
    assert taken(q.take(3)) == expected
    assert (q.size, small.taken) == (1, 3)


def test_forgetting_what_was_never_queued_takes_nobodys_place() -> None:
    """A caller may leave before its request is queued, or after it was queued elsewhere."""
    q = queue()
    q.add(Recorded(lane()))
    q.forget(Recorded(lane()))
    assert q.size == 1
