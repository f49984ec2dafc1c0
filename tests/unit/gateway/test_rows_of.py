"""Each request of a batch gets its own rows of the outputs."""

from __future__ import annotations

import pytest

from inferd.server.gateway.scheduling.instance import Completed, Execution, rows_of
from inferd.server.gateway.scheduling.queue import Batch
from inferd.wire.errors import OutputInvalid
from inferd.wire.tensors import encode_bytes
from support.requests import Recorded, lane


def split(rows: list[int], raw: bytes, datatype: str, row_shape: tuple[int, ...]) -> list[bytes]:
    """What the requests of these many rows get of one output."""
    on = lane(64)
    batch = Batch(on, [Recorded(on, each) for each in rows], sum(rows), 0.0)
    layout = ((datatype, row_shape),)
    completed = Completed(1, Execution(batch, [], 0), layout, (memoryview(raw),), (0, 0, 0))
    return [bytes(outputs[0]) for outputs in rows_of(completed)]


@pytest.mark.parametrize("rows", [[1, 1, 1, 1], [2, 2], [1, 3], [0, 4], [2, 0, 1, 1], [0, 0, 4]])
@pytest.mark.parametrize("size", [1, 8, 5000])
def test_rows_go_to_who_sent_them(rows: list[int], size: int) -> None:
    """One row each, several, or none at all; copied where they are small, views where not."""
    raw = b"".join(bytes([row]) * size for row in range(sum(rows)))
    answers = split(rows, raw, "INT8", (size,))
    assert [len(each) for each in answers] == [count * size for count in rows]
    assert b"".join(answers) == raw


def test_rows_without_elements_are_empty() -> None:
    """An output may have a dimension of size 0."""
    assert split([1, 1, 2], b"", "FP32", (0,)) == [b"", b"", b""]


def test_strings_are_split_between_rows() -> None:
    """Whatever their lengths; broken framing is the model's fault."""
    words = [b"a", b"", b"long", b"b"]
    answers = split([1, 0, 3], encode_bytes(words), "BYTES", (1,))
    assert answers == [encode_bytes(words[:1]), b"", encode_bytes(words[1:])]
    with pytest.raises(OutputInvalid):
        split([1, 1], b"xyz", "BYTES", (1,))
