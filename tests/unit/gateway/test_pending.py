"""Requests in pieces, and their answers joined again."""

from __future__ import annotations

import pytest

from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.server.gateway.scheduling.pending import Piece, parts_of
from inferd.wire.errors import OutputInvalid
from inferd.wire.tensors import encode_bytes
from support.requests import Recorded, lane


def data(piece: Piece) -> list[bytes | None]:
    """The bytes of a piece, per input."""
    return [None if each is None else bytes(each) for each in piece.buffers]


def test_a_whole_request_is_its_own_piece() -> None:
    """What is not split costs nothing to split; no rows are a piece like any other."""
    request = Recorded(lane(4), 1, data=b"a")
    assert request.pending is request
    assert (request.first_row, request.rows, request.nbytes) == (0, 1, 1)
    assert Recorded(lane(4), 0).nbytes == 0


@pytest.mark.parametrize(("rows", "sizes"), [(5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
def test_pieces_have_whole_batches_and_a_rest(rows: int, sizes: list[int]) -> None:
    """Rows are cut between rows, in order and without a copy."""
    raw = bytes(range(2 * rows))
    pieces = parts_of(Recorded(lane(4, row_nbytes=2), rows, data=raw))
    assert [piece.rows for piece in pieces] == sizes
    assert [piece.first_row for piece in pieces] == [0, 4, 8][: len(sizes)]
    assert b"".join(data(piece)[0] or b"" for piece in pieces) == raw


def test_inputs_of_every_kind_are_cut_at_the_same_rows() -> None:
    """BYTES between elements, fixed sizes between rows; what was left out stays left out."""
    on = Lane((LaneInput("INT16", (1,), 2), None, LaneInput("BYTES", (2,), 0)), 2)
    request = Recorded(on, 3)
    words = [b"a", b"", b"ccc", b"dd", b"e", b"f"]
    request.buffers = [b"\1\0\2\0\3\0", None, encode_bytes(words)]
    first, second = parts_of(request)
    assert data(first) == [b"\1\0\2\0", None, encode_bytes(words[:4])]
    assert data(second) == [b"\3\0", None, encode_bytes(words[4:])]
    assert second.nbytes == 2 + 10


def test_answers_are_joined_in_the_order_of_rows() -> None:
    """In whatever order the pieces come back; their times add up."""
    request = Recorded(lane(2), 3, data=b"abc")
    first, second = parts_of(request)
    layout = (("INT8", (1,)), ("BYTES", ()))
    request.keep(second, layout, [b"C", b"3"], (1, 2, 3))
    request.keep(first, layout, [b"AB", b"12"], (10, 20, 30))
    assert request.join() == (layout, [b"ABC", b"123"])
    assert request.durations == (11, 22, 33)


def test_parts_of_different_shapes_cannot_be_joined() -> None:
    """A model whose rows depend on their batch is told so."""
    request = Recorded(lane(2), 3, data=b"abc")
    first, second = parts_of(request)
    request.keep(first, (("INT8", (1,)),), [b"AB"], (0, 0, 0))
    request.keep(second, (("INT8", (2,)),), [b"CC"], (0, 0, 0))
    with pytest.raises(OutputInvalid):
        request.join()
