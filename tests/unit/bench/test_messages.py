"""Stream messages: the id where protobuf puts it, and answers matched with requests."""

from __future__ import annotations

import numpy as np

from inferd.bench.client.messages import StreamPayload, read_answer
from inferd.bench.client.transport import DEADLINE_EXCEEDED, OK, UNKNOWN, Answer
from inferd.protos import oip_pb2 as oip


def request(**fields: object) -> oip.ModelInferRequest:
    """A request with one input."""
    message = oip.ModelInferRequest(model_name="m", **fields)  # type: ignore[arg-type] # names
    message.inputs.add(name="x", datatype="FP32", shape=[2])
    message.raw_input_contents.append(np.zeros(2, np.float32).tobytes())
    return message


def answer(request_id: str, error: str = "") -> bytes:
    """A ModelStreamInferResponse."""
    reply = oip.ModelStreamInferResponse(error_message=error)
    reply.infer_response.id = request_id
    return reply.SerializeToString()


def test_the_id_is_where_protobuf_puts_it() -> None:
    """The same bytes as if the request had been made with that id."""
    for version in ("", "3"):
        payload = StreamPayload(request(model_version=version).SerializeToString())
        expected = request(model_version=version, id="1f").SerializeToString()
        assert payload.message("1f") == expected


def test_ids_are_used_again_once_answered() -> None:
    """As many ids as requests in flight: servers see requests that they know."""
    payload = StreamPayload(request().SerializeToString())
    first, second = payload.take_id(), payload.take_id()
    assert first != second
    payload.give_back([first])
    assert payload.take_id() == first


def test_answers_are_matched_by_id() -> None:
    """In any order; one more answer to the same request, as decoupled models give, is ignored."""
    waiting = {"1": 10.0, "2": 11.0}
    assert read_answer(answer("2"), waiting, 0) == ("2", Answer(11.0, OK, ""))
    assert read_answer(answer("2"), waiting, 0) is None
    assert waiting == {"1": 10.0}


def test_answers_without_an_id_come_in_order() -> None:
    """The protocol asks for that of servers that do not echo ids."""
    waiting = {"1": 10.0, "2": 11.0}
    assert read_answer(answer(""), waiting, 0) == ("1", Answer(10.0, OK, ""))


def test_errors_in_the_stream_are_errors() -> None:
    """An error message fails its request; so does an answer after its deadline, or no message."""
    assert read_answer(answer("1", "broken"), {"1": 10.0}, 0) == (
        "1",
        Answer(10.0, UNKNOWN, "broken"),
    )
    late = read_answer(answer("1"), {"1": 10.0}, 10.5)
    assert late is not None
    assert late[1].code == DEADLINE_EXCEEDED
    garbled = read_answer(b"\xff", {"1": 10.0}, 0)
    assert garbled is not None
    assert garbled[1].code == UNKNOWN
