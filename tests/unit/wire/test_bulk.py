"""Steps of a bulk stream: what we write protobuf reads, and what protobuf writes we read."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.protos.v1.bulk_pb2 import (
    Answer,
    BulkRequest,
    BulkResponse,
    Chunk,
    Credit,
    Error,
    Open,
    Part,
)
from inferd.wire.bulk import ERROR, Content, answer_steps, parts_of_chunk, read_step, whole_chunk

REQUEST = ModelInferRequest(model_name="m", raw_input_contents=[b"x" * 300]).SerializeToString()


@given(sequence=st.integers(0, 2**64 - 1), size=st.integers(1, 400))
def test_chunks_are_what_protobuf_reads(sequence: int, size: int) -> None:
    """Whole ones and parts, of any size."""
    whole = BulkRequest.FromString(whole_chunk(sequence, REQUEST)).chunk
    assert (whole.sequence, whole.request.SerializeToString()) == (sequence, REQUEST)
    steps = parts_of_chunk(sequence, REQUEST, size)
    parts = [BulkRequest.FromString(each).chunk for each in steps]
    assert b"".join([each.part.data for each in parts]) == REQUEST
    assert [each.part.last for each in parts] == [False] * (len(parts) - 1) + [True]
    assert {each.sequence for each in parts} == {sequence}
    read = [read_step(each, answers=False) for each in steps]
    assert all(isinstance(each, Content) and not each.whole for each in read)


def test_answers_are_read_as_protobuf_writes_them() -> None:
    """Errors with their credit, parts, and the opening, whatever order the fields have."""
    error = Error(code=3, message="no")
    answer = Answer(sequence=7, error=error, credit=Credit(chunks=1, bytes=9))
    read = read_step(BulkResponse(answer=answer).SerializeToString(), answers=True)
    assert isinstance(read, Content)
    assert (read.sequence, read.whole, read.error, read.credit) == (7, True, True, (1, 9))
    assert Error.FromString(bytes(read.data)) == error
    (ours,) = answer_steps(7, ERROR, error.SerializeToString(), 1000, (1, 9))
    assert BulkResponse.FromString(ours).answer == answer
    part = Chunk(sequence=3, part=Part(data=b"abc", last=True))
    read = read_step(BulkRequest(chunk=part).SerializeToString(), answers=False)
    assert isinstance(read, Content)
    assert (read.sequence, bytes(read.data), read.last, read.whole) == (3, b"abc", True, False)
    opening = BulkRequest(open=Open(model_name="m"))
    assert read_step(opening.SerializeToString(), answers=False) == (
        opening.open.SerializeToString()
    )


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Nothing but `DecodeError` comes out of bytes that are no step."""
    try:
        read_step(payload, answers=False)
    except DecodeError:
        pass


@pytest.mark.parametrize("payload", [b"", b"\x12\x05\x08", b"\x0b\x0c", b"\x12\x02\x08\x01"])
def test_broken_steps_are_refused(payload: bytes) -> None:
    """Nothing, one cut short, a group, and a chunk without contents."""
    with pytest.raises(DecodeError):
        read_step(payload, answers=False)
