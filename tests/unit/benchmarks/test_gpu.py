"""What is made of the times of a server on a GPU: how much is hidden, how many images per second."""

from __future__ import annotations

from pathlib import Path

import gpu
import numpy as np
import pytest
import torch
from load import read_times
from on_gpu.overlap import Steps, hidden_share
from on_gpu.resnet import Task
from on_gpu.served import Demand, check, rate_of
from on_gpu.spans import steps_of
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from wires.call import WrongAnswer


def span(name: str, own: bytes, parent: bytes, times: tuple[int, int], batch: str = "") -> Span:
    """One of these ids and times; of a batch, if that has a name."""
    told = [KeyValue(key="inferd.batch.id", value=AnyValue(string_value=batch))] if batch else []
    return Span(
        name=name,
        span_id=own,
        parent_span_id=parent,
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        attributes=told,
    )


def test_a_copy_is_hidden_by_the_computing_of_others_alone() -> None:
    """A batch's own computing hides nothing of it, and what two others cover counts once."""
    alone = Steps((0, 10), (5, 20), (20, 30))
    assert hidden_share([alone]) == 0.0
    # The second is copied in while the first computes; the first goes out while the second computes.
    second = Steps((10, 15), (25, 40), (40, 45))
    assert hidden_share([alone, second]) == (5 + 5) / (10 + 10 + 5 + 5)
    twice = [Steps((0, 10), (90, 91), (95, 95)), *[Steps((50, 50), (2, 8), (60, 60))] * 2]
    assert hidden_share(twice) == 6 / 10


def test_nothing_copied_is_nothing_hidden() -> None:
    """No batch, or none that took time to copy, is no error."""
    assert hidden_share([]) == 0.0
    assert hidden_share([Steps((1, 1), (0, 5), (5, 5))] * 2) == 0.0


def test_a_batch_counts_once_whoever_tells_of_it() -> None:
    """Two of its requests are traced; one that has no steps yet, and other spans, are left out."""
    late = [span("batch", b"c", b"r", (20, 30), "2")]
    late += [
        span(name, b"x", b"c", times)
        for name, times in (("copy in", (20, 21)), ("compute", (21, 25)), ("copy out", (25, 26)))
    ]
    early = []
    for own in (b"a", b"b"):
        early += [
            span("copy in", b"x", own, (1, 2)),
            span("compute", b"x", own, (2, 3)),
            span("copy out", b"x", own, (3, 4)),
            span("batch", own, b"r", (0, 5), "1"),
        ]
    rest = [span("batch", b"d", b"r", (0, 9), "3"), span("queue", b"q", b"r", (0, 1))]
    assert steps_of([*late, *early, *rest]) == [
        Steps((1, 2), (2, 3), (3, 4)),
        Steps((20, 21), (21, 25), (25, 26)),
    ]


def test_images_per_second_are_those_while_all_generators_ran() -> None:
    """What one alone gets at the beginning and at the end is left out, but not of what is on the whole."""
    one = [(at - 100, at) for at in range(100, 1100, 100)]
    other = [(at - 100, at) for at in range(300, 1300, 100)]
    rate, whole = rate_of([one, other])
    assert rate == 2 * 7 / 700 * 1e6
    assert whole == 20 / 1200 * 1e6


def test_one_burst_is_not_taken_for_a_rate() -> None:
    """All answers come at once: they took the time since they were asked for, not that between them."""
    bursts = [[(0, 1000), (0, 1001)], [(0, 1001), (0, 1002)]]
    assert rate_of(bursts) == (4 / 1002 * 1e6, 4 / 1002 * 1e6)


def test_times_are_read_from_the_log(tmp_path: Path) -> None:
    """Begin since the epoch, status, microseconds; those that failed are left out."""
    log = tmp_path / "h2load.log"
    log.write_text("1000\t200\t50\n2000\t-1\t70\n3000\t200\t5\n")
    assert read_times(log) == [(1000, 1050), (3000, 3005)]


def test_bfloat16_is_compared_as_far_as_it_goes() -> None:
    """A few per cent differ, or the largest is the same one; another answer is refused."""
    right = np.array([1.0, -2.0, 3.0], np.float32)
    check(right * np.float32(1.03), right)
    check(right * np.float32(1.5), right)
    with pytest.raises(WrongAnswer, match="differ"):
        check(right[::-1], right)
    with pytest.raises(WrongAnswer, match="expected 3"):
        check(right[:2], right)
    with pytest.raises(WrongAnswer):
        check(right * np.float32(np.nan), right * np.float32(np.nan))


@pytest.mark.parametrize(("kind", "size"), [("uint8", 1), ("fp32", 4)])
def test_an_image_has_the_same_pixels_in_either_form(kind: str, size: int) -> None:
    """150 KB as bytes, 602 KB as float32; each generator asks for its share."""
    task = Task(input=kind)
    values = task.values(1)
    assert len(values) == 3 * 224 * 224 * size
    pixels = np.frombuffer(values, np.uint8 if size == 1 else "<f4").astype(np.uint8)
    assert pixels.tobytes() == Task().values(1)
    scenario = Demand(callers=256, loads=4, connections=16).scenario(task)
    assert (scenario.callers, scenario.connections, scenario.shape) == (64, 16, (1, 3, 224, 224))


def test_no_gpu_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is exported or started: the text says what is missing and how to go on without it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "Measurement", None)
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "no usable CUDA device" in said
    assert "--device cpu" in said
