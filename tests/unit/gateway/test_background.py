"""Background work: what waits of it, how it is cut, and how much of it runs beside others."""

from __future__ import annotations

from math import inf

from inferd.server.gateway.scheduling.background import pace as pacing
from inferd.server.gateway.scheduling.background.pace import Pace
from inferd.server.gateway.scheduling.background.queue import BackgroundQueue
from inferd.server.gateway.scheduling.instance import Instance
from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.server.gateway.scheduling.queue import Batch
from inferd.wire.errors import DeadlineExceeded, WorkerLost
from inferd.wire.signature import Axis, TensorSpec
from inferd.wire.tensors import encode_bytes
from support.requests import Recorded, lane
from support.scene import Scene


def taken(batch: Batch | None) -> list[tuple[object, int, int]]:
    """The pieces of a batch: request, first row, rows."""
    assert batch is not None
    assert batch.rows == sum(piece.rows for piece in batch.pieces)
    return [(piece.pending, piece.first_row, piece.rows) for piece in batch.pieces]


def put_by(scene: Scene, on: Lane, rows: int, deadline: float = inf) -> Recorded:
    """A background request that arrives now, with each row another value."""
    data = bytes(range(rows))
    background = on.in_background()
    pending = Recorded(background, rows, arrived=scene.clock.now, deadline=deadline, data=data)
    scene.deployment.put_by(pending)
    return pending


def test_full_executions_are_cut_from_whatever_waits() -> None:
    """Across requests, each row once and in its place; what was not taken stays in front."""
    queue, on = BackgroundQueue(max_batch_bytes=1 << 20), lane(4).in_background()
    a, b = Recorded(on, 6), Recorded(on, 7, arrived=1)
    queue.add(a)
    queue.add(b)
    assert taken(queue.take(1, executions=2)) == [(a, 0, 4), (a, 4, 2), (b, 0, 2)]
    assert queue.size == 1
    assert taken(queue.take(1, rows=1)) == [(b, 2, 1)]
    batch = queue.take(1, executions=9)
    assert batch is not None
    assert taken(batch) == [(b, 3, 1), (b, 4, 3)]
    assert (queue.size, queue.take(1)) == (0, None)
    queue.give_back(batch)
    assert (queue.size, taken(queue.take(1))) == (1, [(b, 3, 1), (b, 4, 3)])


def test_bytes_bound_a_batch_and_text_is_cut_at_its_rows() -> None:
    """A row is taken even if it alone is too large; BYTES rows differ in size."""
    queue = BackgroundQueue(max_batch_bytes=10)
    on = lane(4, row_nbytes=4).in_background()
    queue.add(Recorded(on, 4))
    assert [each[2] for each in taken(queue.take(0))] == [2]
    text = Lane((type(on.inputs[0])("BYTES", (1,), 0),), 4).in_background()  # type: ignore[misc]  # none is None
    words = encode_bytes([b"a", b"bcd", b"ef"])
    queue = BackgroundQueue(max_batch_bytes=1 << 20)
    queue.add(Recorded(text, 3, data=words))
    cut = [queue.take(0, rows=1), queue.take(0, rows=5)]
    pieces = [bytes(each.pieces[0].buffers[0] or b"") for each in cut if each is not None]
    assert pieces == [encode_bytes([b"a"]), encode_bytes([b"bcd", b"ef"])]


def test_outputs_bound_how_many_executions_go_together() -> None:
    """A worker's arena has to hold them; where their size is not known, one goes at a time."""
    wide = TensorSpec("y", "INT8", (Axis("batch"), 64))
    inputs = (LaneInput("INT8", (1,), 1),)
    on = Lane(inputs, 4, (wide,)).in_background()
    queue = BackgroundQueue(max_batch_bytes=700)
    queue.add(Recorded(on, 12))
    assert [each[2] for each in taken(queue.take(0, executions=3))] == [4, 4]
    unknown = Lane(inputs, 4, (TensorSpec("y", "BYTES", (Axis("batch"),)),)).in_background()
    queue = BackgroundQueue(max_batch_bytes=700)
    queue.add(Recorded(unknown, 12))
    assert [each[2] for each in taken(queue.take(0, executions=3))] == [4]


def test_a_forgotten_request_leaves_nothing_behind() -> None:
    """Nor does one whose deadline has passed count among those that wait."""
    queue, on = BackgroundQueue(max_batch_bytes=1 << 20), lane(4).in_background()
    gone, late = Recorded(on, 9), Recorded(on, 2, deadline=5.0)
    queue.add(gone)
    queue.add(late)
    queue.take(0)
    queue.forget(gone)
    assert (queue.size, queue.next_event()) == (1, 5.0)
    assert queue.expire(5.0) == [late]
    queue.forget(late)
    assert (queue.size, queue.next_event(), queue.take(6)) == (0, inf, None)


def test_nobody_else_calls_then_it_runs_in_full(scene: Scene) -> None:
    """One request in batches of four; its answer is joined in the order of its rows."""
    instance, worker = scene.attach()
    pending = put_by(scene, lane(4), 11)
    for _ in range(3):
        scene.read(instance)
    assert worker.batches == [4, 4, 3]
    assert pending.answer == ((("INT8", (1,)),), [bytes(range(11))])
    statistics = scene.deployment.statistics
    assert (statistics.success.count, statistics.inference_count) == (1, 11)
    assert scene.deployment.idle


def test_what_else_waits_goes_first(scene: Scene) -> None:
    """A request that comes while background work waits is in the very next batch."""
    instance, worker = scene.attach()
    put_by(scene, lane(4), 16)
    ordinary = scene.send(lane(4))
    before = instance.outstanding
    for _ in range(before + 1):
        scene.read(instance)
    assert ordinary.answer
    assert worker.batches[before] == 1


def test_beside_others_it_runs_in_slices_with_pauses(scene: Scene) -> None:
    """It begins with a row and doubles while that takes next to no time; after each it rests."""
    instance, _ = scene.attach()
    scene.send(lane(4))
    scene.clock.now += 0.004
    scene.read(instance)
    pending = put_by(scene, lane(64), 64)
    sizes = []
    for _ in range(4):
        sizes.append(rows_at(instance))
        scene.clock.now += 0.001
        scene.read(instance)
        assert instance.outstanding == 0
        due = scene.deployment.next_event()
        assert due > scene.clock.now
        scene.clock.now = due
        scene.deployment.dispatch()
    assert sizes == [1, 2, 4, 8]
    assert pending.answer is None


def test_a_slice_takes_a_part_of_what_ordinary_batches_take() -> None:
    """By the measured time of the slice before: rows of a tenth of a millisecond, and of ten."""
    for row, most in ((0.0001, 10), (0.01, 1)):
        pace, now = Pace(), 100.0
        for _ in range(50):
            pace.ordinary(now, 0.004)
            now += 0.1
            rows = pace.slice(now)
            assert 1 <= rows <= most + 2
            pace.concluded_slice(now, rows, rows * row + 0.002, rows * row)
        assert most // 2 <= rows <= most
        pace.concluded(now, 1000, 10, 1000 * row, 1000 * row)
        assert pace.slice(now + 1000 * row + 1) <= most


def test_a_pause_that_ends_between_two_looks_is_not_missed(scene: Scene) -> None:
    """A slice that came due after the last look has its moment, or it would wait for ever."""
    instance, _ = scene.attach()
    scene.send(lane(4))
    scene.clock.now += 0.004
    scene.read(instance)
    put_by(scene, lane(64), 64)
    scene.clock.now += 0.001
    scene.read(instance)
    due = scene.deployment.next_event()
    scene.clock.now = due + 1
    assert scene.deployment.next_event() == due


def test_it_runs_in_the_end_beside_callers_that_make_no_pause() -> None:
    """A slice is due at the latest so long after the last one, whatever comes meanwhile."""
    pace = Pace()
    pace.concluded(100.0, 4, 1, 0.001, 0.001)
    now = 100.0
    while now < 100.0 + pacing.PATIENCE:
        pace.ordinary(now, 0.001)
        assert pace.slice(now) == 0
        now += 0.0005
    assert pace.slice(100.0 + pacing.PATIENCE) > 0


def test_one_of_several_workers_stays_free(scene: Scene) -> None:
    """Beside others; with nobody else there all of them are filled."""
    (a, _), (b, _) = scene.attach(), scene.attach()
    scene.send(lane(4))
    scene.read(a)
    put_by(scene, lane(4), 32)
    scene.clock.now += 0.5
    scene.deployment.dispatch()
    assert sorted([a.outstanding, b.outstanding]) == [0, 1]
    scene.clock.now += pacing.ALIVE + 1
    scene.deployment.dispatch()
    assert min(a.outstanding, b.outstanding) >= 1


def test_the_others_go_on_when_a_worker_is_lost(scene: Scene) -> None:
    """What was left for it is looked after by those that are there."""
    (a, _), (b, _) = scene.attach(), scene.attach()
    scene.send(lane(4))
    scene.read(a)
    on = lane(4)
    put_by(scene, on, 32)
    put_by(scene, on, 32)
    scene.clock.now += 0.5
    scene.deployment.dispatch()
    running, idle = (a, b) if a.outstanding else (b, a)
    scene.deployment.lost(running)
    assert not scene.deployment.idle
    assert idle.outstanding or scene.deployment.next_event() < inf


def test_its_deadline_and_the_loss_of_the_last_worker_end_it(scene: Scene) -> None:
    """What waits fails; nothing is left waiting."""
    instance, worker = scene.attach()
    worker.go.clear()
    running, late = put_by(scene, lane(1), 2), put_by(scene, lane(1), 4, deadline=101.0)
    scene.clock.now = 102.0
    scene.deployment.dispatch()
    assert isinstance(late.error, DeadlineExceeded)
    waits = put_by(scene, lane(1), 1)
    scene.deployment.lost(instance)
    assert isinstance(running.error, WorkerLost)
    assert isinstance(waits.error, WorkerLost)
    assert scene.deployment.idle


def rows_at(instance: Instance) -> int:
    """The rows of the only batch that an instance holds."""
    (execution,) = instance._executions.values()
    return execution.batch.rows
