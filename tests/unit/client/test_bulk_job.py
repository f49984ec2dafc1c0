"""A bulk job step by step: credit, retries, a broken connection. There is no network here."""

from __future__ import annotations

import pytest

from inferd.client.bulk.job import MOST_ATTEMPTS, BulkJob, BulkPosition
from inferd.client.codec.calls import Call
from inferd.client.errors import AnswerInvalid, InvalidInput, ServerUnavailable, WorkerLost
from inferd.protos.v1.bulk_pb2 import (
    Answer,
    BulkRequest,
    BulkResponse,
    Credit,
    Error,
    Opened,
    Part,
)
from inferd.wire.bulk import Content, read_step

NOW = 50.0


def call(text: str) -> Call[object]:
    """A request that reads back what was answered."""
    return Call("path", text.encode(), lambda payload: payload.decode())


def job(*, ordered: bool = True, resume: BulkPosition | None = None, many: int = 4) -> BulkJob:
    """A job with this many items drawn."""
    made = BulkJob("m", "", ordered=ordered, in_flight=8, patience=10.0, resume=resume, now=NOW)
    for n in range(many):
        made.add(call(f"request {n}"))  # type: ignore[arg-type]  # it reads text here
    return made


def opened(*, chunks: int = 9, nbytes: int = 1000, part: int = 100) -> bytes:
    """The server's first message."""
    message = Opened(
        resume_token="t",
        model_version="3",
        credit=Credit(chunks=chunks, bytes=nbytes),
        part_bytes=part,
        request_bytes=500,
    )
    return BulkResponse(opened=message).SerializeToString()


def sequences(made: BulkJob, now: float = NOW) -> list[int]:
    """The chunks that are sent now."""
    steps = [read_step(each, answers=False) for each in made.outgoing(now)]
    return [each.sequence for each in steps if isinstance(each, Content)]


def answer(sequence: int, text: str = "") -> bytes:
    """A whole answer, taken for what it is though it is no tensor."""
    body = (text or f"answer {sequence}").encode()
    part = Part(data=body, last=True)
    return BulkResponse(answer=Answer(sequence=sequence, part=part)).SerializeToString()


def failure(sequence: int, code: int, reason: str, retry_after: float = 0.0) -> bytes:
    """An error in the place of an answer."""
    error = Error(code=code, reason=reason, retry_after=retry_after, message="why")
    return BulkResponse(answer=Answer(sequence=sequence, error=error)).SerializeToString()


def test_nothing_is_sent_beyond_the_credit() -> None:
    """In chunks and in bytes; one chunk always goes, and an answer makes room."""
    made = job()
    assert sequences(made) == []
    made.received(opened(chunks=2), NOW)
    assert sequences(made) == [0, 1]
    made.received(answer(0), NOW)
    assert sequences(made) == [2]
    narrow = job()
    narrow.received(opened(nbytes=1), NOW)
    assert sequences(narrow) == [0]


def test_a_broken_connection_sends_only_what_is_unanswered() -> None:
    """Under the token and from the position; an answer that came before is not had twice."""
    made = job()
    made.received(opened(), NOW)
    assert sequences(made) == [0, 1, 2, 3]
    made.received(answer(0), NOW)
    made.received(answer(2), NOW)
    assert list(made.due()) == [(0, "answer 0")]
    assert made.broken(ServerUnavailable("gone"), NOW) > 0
    opening = BulkRequest.FromString(made.opening()).open
    assert (opening.resume_token, opening.position, opening.model_version) == ("t", 1, "3")
    made.received(opened(), NOW)
    assert sequences(made) == [1, 3]
    made.received(answer(2, "another"), NOW)
    made.received(answer(3), NOW)
    made.received(answer(1), NOW)
    assert list(made.due()) == [(1, "answer 1"), (2, "answer 2"), (3, "answer 3")]
    assert made.idle


def test_it_is_tried_again_with_growing_pauses_until_patience_ends() -> None:
    """Other errors end the job at once; an answer makes the pauses short again."""
    made = job()
    waits = [made.broken(ServerUnavailable("gone"), NOW + n) for n in range(8)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.1, 2.0)
    with pytest.raises(ServerUnavailable):
        made.broken(ServerUnavailable("gone"), NOW + 10.1)
    with pytest.raises(InvalidInput):
        made.broken(InvalidInput("no"), NOW)
    assert made.overdue(NOW + 10.1)
    made.received(opened(), NOW)
    list(made.outgoing(NOW))
    made.received(answer(0), NOW + 20)
    assert made.broken(ServerUnavailable("gone"), NOW + 20) == 0.1
    assert made.broken(ServerUnavailable("full", retry_after=5.0), NOW + 20) == 5.0


def test_a_chunk_whose_worker_dies_is_sent_again_but_not_for_ever() -> None:
    """After its pause; one that is of no use is an answer at once. The rest goes on."""
    made = job(many=2)
    made.received(opened(), NOW)
    assert sequences(made) == [0, 1]
    made.received(failure(1, 3, "INVALID_REQUEST"), NOW)
    now = NOW
    for _ in range(MOST_ATTEMPTS - 1):
        made.received(failure(0, 14, "WORKER_LOST", 1.0), now)
        assert sequences(made, now) == []
        assert made.next_event(now) == 1.0
        now += 1.0
        assert sequences(made, now) == [0]
    made.received(failure(0, 14, "MODEL_NOT_READY", 1.0), now)
    now += 1.0
    assert sequences(made, now) == [0]
    made.received(failure(0, 14, "WORKER_LOST", 1.0), now)
    (_, lost), (_, bad) = made.due()
    assert isinstance(lost, WorkerLost)
    assert isinstance(bad, InvalidInput)


def test_large_requests_go_in_parts_and_too_large_ones_not_at_all() -> None:
    """The error of one that no server takes stands in its place."""
    made = job(many=0)
    made.add(call("x" * 250))  # type: ignore[arg-type]  # it reads text here
    made.add(call("x" * 501))  # type: ignore[arg-type]  # as above
    made.received(opened(), NOW)
    parts = [BulkRequest.FromString(each).chunk.part for each in made.outgoing(NOW)]
    assert [(len(each.data), each.last) for each in parts] == [
        (100, False),
        (100, False),
        (50, True),
    ]
    made.received(answer(0), NOW)
    (_, first), (_, second) = made.due()
    assert first == "answer 0"
    assert isinstance(second, InvalidInput)
    assert "501" in second.message


def test_a_resumed_job_counts_from_its_position() -> None:
    """And what is no answer is told as such."""
    made = job(resume=BulkPosition("t", 70), many=1)
    assert BulkRequest.FromString(made.opening()).open.position == 70
    made.received(opened(), NOW)
    assert sequences(made) == [70]
    with pytest.raises(AnswerInvalid):
        made.received(b"\xff", NOW)
