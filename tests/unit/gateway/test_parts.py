"""Parts of one large request that go to a worker together."""

from __future__ import annotations

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.server.gateway.scheduling.queue import Batch, Queue
from inferd.wire.signature import Axis, TensorSpec
from support.requests import Recorded, lane


def queue(*, nbytes: int = 1 << 20) -> Queue:
    """A queue whose batches have at most this many bytes."""
    return Queue(max_size=100, max_delay=0.0, max_batch_bytes=nbytes)


def taken(batch: Batch | None) -> list[tuple[object, int, int]]:
    """The pieces of a batch: request, first row, rows."""
    assert batch is not None
    return [(piece.pending, piece.first_row, piece.rows) for piece in batch.pieces]


def test_parts_of_one_request_may_come_together() -> None:
    """As many as are asked for, never with rows of another; the last part shares a batch as ever."""
    q, on = queue(), lane(4)
    on.parts = 3
    big, small = Recorded(on, 22), Recorded(on, 2, arrived=1)
    q.add(big)
    q.add(small)
    batch = q.take(9)
    assert taken(batch) == [(big, 0, 4), (big, 4, 4), (big, 8, 4)]
    assert batch is not None
    assert (batch.step, batch.executions) == (4, 3)
    batch = q.take(9)
    assert taken(batch) == [(big, 12, 4), (big, 16, 4), (big, 20, 2)]
    assert batch is not None
    assert (batch.step, batch.executions) == (4, 3)
    batch = q.take(9)
    assert taken(batch) == [(small, 0, 2)]
    assert batch is not None
    assert (batch.step, batch.executions) == (0, 1)


def test_parts_that_come_together_are_bounded_in_bytes() -> None:
    """A worker's arena has to hold what goes in and what comes out."""
    q, on = queue(nbytes=128), lane(4, row_nbytes=16)
    on.parts = 3
    big = Recorded(on, 12)
    q.add(big)
    assert taken(q.take(9)) == [(big, 0, 4), (big, 4, 4)]
    wide = TensorSpec("y", "INT8", (Axis("batch"), 64))
    q, on = queue(nbytes=700), Lane((LaneInput("INT8", (1,), 1),), 4, (wide,))
    on.parts = 3
    big = Recorded(on, 12)
    q.add(big)
    assert taken(q.take(9)) == [(big, 0, 4), (big, 4, 4)]
    assert taken(q.take(9)) == [(big, 8, 4)]


def test_how_many_follows_from_the_time_of_full_executions() -> None:
    """As many as take 8 ms; what fewer rows took tells nothing, and unknown outputs may need room."""
    on = lane(4)
    on.observe_time(3, 1, 1_000)
    assert on.parts == 1
    on.observe_time(4, 1, 2_000_000)
    assert on.parts == 4
    on.observe_time(16, 4, 16_000_000)
    assert on.parts == 2
    on.observe_time(4, 1, 9_000_000)
    assert on.parts == 1
    on.observe_time(4, 1, 1)
    assert on.parts == 16
    unknown = Lane((LaneInput("INT8", (1,), 1),), 4, (TensorSpec("y", "BYTES", (Axis("batch"),)),))
    unknown.observe_time(4, 1, 1)
    assert unknown.parts == 1
