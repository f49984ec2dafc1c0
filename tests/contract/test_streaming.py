"""ModelStreamInfer: many requests on one call, each answered as if it had come alone, in order."""

from __future__ import annotations

import queue

import grpc
import numpy as np
import tritonclient.grpc as triton

from support.calls import ROWS, begin, call, rows, values_of
from support.conversation import Conversation, reach, read
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def test_answers_come_in_the_order_of_the_requests(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Though later ones are ready before the first; each with its own id."""
    slow, quick = LinkWorker(), LinkWorker()
    gateway.deploy("slow", ROWS, [slow])
    gateway.deploy("quick", ROWS, [quick])
    slow.go.clear()
    stream = Conversation(channel)
    stream.send(rows([[0]], model="slow", id="a"))
    stream.send(*[rows([[n]], model="quick", id=str(n)) for n in range(1, 9)])
    while sum(quick.batches) < 8:
        assert quick.arrived.acquire(timeout=10)
    assert values_of(call(channel, rows([[9]], model="quick"))) == [[9]]
    slow.go.set()
    stream.half_close()
    answers = stream.rest()
    assert [read(each) for each in answers] == [[[n]] for n in range(9)]
    assert [each.infer_response.id for each in answers] == ["a", *"12345678"]
    assert stream.code() is grpc.StatusCode.OK


def test_errors_stand_where_their_answers_would(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """In the message, with the request's id; the stream and its other requests go on."""

    def broken(inputs: object, parameters: object) -> list[object]:
        raise ValueError("no such luck")

    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.deploy("broken", ROWS, [LinkWorker(broken)])  # type: ignore[arg-type]  # it never returns
    stream = Conversation(channel)
    stream.send(
        rows([[1]], id="1"),
        rows([[2]], model="unknown", id="2"),
        rows([[3]], model="broken", id="3"),
        b"\xde\xad\xbe\xef",
        b"",
        rows([[6]], id="6") + b"\x3a\x01\x00",  # one raw tensor too many
        rows([[7]], id="7"),
    )
    stream.half_close()
    answers = stream.rest()
    assert stream.code() is grpc.StatusCode.OK
    assert [each.infer_response.id for each in answers] == ["1", "2", "3", "", "", "6", "7"]
    assert [bool(each.error_message) for each in answers] == [False, *[True] * 5, False]
    assert answers[1].error_message == call(channel, rows([[2]], model="unknown")).message
    assert "no such luck" in answers[2].error_message
    assert not any(each.infer_response.outputs for each in answers[1:6])
    assert read(answers[6]) == [[7]]


def test_requests_of_a_stream_are_batched(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Many are in flight at once, together with those of other streams and of unary calls."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    first, second = Conversation(channel), Conversation(channel)
    first.send(rows([[0]]))
    assert worker.arrived.acquire(timeout=10)
    first.send(rows([[1]]), rows([[2]]))
    second.send(rows([[3]]))
    alone = begin(channel, rows([[4]]))
    reach(channel)
    worker.go.set()
    assert [read(first.next()) for _ in range(3)] == [[[0]], [[1]], [[2]]]
    assert read(second.next()) == [[3]]
    assert values_of(alone.outcome()) == [[4]]
    assert worker.batches == [1, 4]
    for stream in (first, second):
        stream.half_close()
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK


def test_the_end_comes_after_the_last_answer(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A caller that has sent its last still gets all that it is owed."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    stream = Conversation(channel)
    stream.send(*[rows([[n]]) for n in range(10)])
    stream.half_close()
    assert worker.arrived.acquire(timeout=10)
    reach(channel)
    worker.go.set()
    assert [read(each) for each in stream.rest()] == [[[n]] for n in range(10)]
    assert stream.code() is grpc.StatusCode.OK


def test_a_stream_without_requests_ends_well(channel: grpc.Channel) -> None:
    """With no answer and no error."""
    stream = Conversation(channel)
    stream.half_close()
    assert stream.rest() == []
    assert stream.code() is grpc.StatusCode.OK


def test_streams_do_not_mix(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Several at once on two workers: to each its own answers, in its own order."""
    gateway.deploy("m", ROWS, [LinkWorker(), LinkWorker()])
    streams = [Conversation(channel) for _ in range(5)]
    for n in range(40):
        for number, stream in enumerate(streams):
            stream.send(rows([[number, n]] * (1 + n % 6)))
    for number, stream in enumerate(streams):
        stream.half_close()
        assert [read(each) for each in stream.rest()] == [
            [[number, n]] * (1 + n % 6) for n in range(40)
        ]
        assert stream.code() is grpc.StatusCode.OK


def test_tritonclient_streams(gateway: GatewayUnderTest) -> None:
    """An unmodified client: callbacks in order, errors as its own exception, a clean stop."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    heard: queue.SimpleQueue[tuple[object, object]] = queue.SimpleQueue()
    tensor = triton.InferInput("x", [1, 2], "FP32")
    with triton.InferenceServerClient(gateway.address) as client:
        client.start_stream(callback=lambda result, error: heard.put((result, error)))
        for n in range(20):
            tensor.set_data_from_numpy(np.array([[n, 1]], np.float32))
            model = "unknown" if n == 7 else "m"
            client.async_stream_infer(model, [tensor], request_id=f"r{n}")
        for n in range(20):
            result, error = heard.get(timeout=20)
            if n == 7:
                assert result is None
                assert "unknown" in str(error)
                continue
            assert error is None
            assert isinstance(result, triton.InferResult)
            assert result.get_response().id == f"r{n}"
            assert result.as_numpy("y").tolist() == [[n, 1]]
        client.stop_stream()


def test_requests_of_streams_are_counted(gateway: GatewayUnderTest) -> None:
    """As those of unary calls are."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    with grpc.insecure_channel(gateway.address) as channel:
        stream = Conversation(channel)
        stream.send(rows([[1]]), rows([[1], [2]]), rows([[1, 2]]) + b"\x3a\x01\x00")
        stream.half_close()
        stream.rest()
    with triton.InferenceServerClient(gateway.address) as client:
        counts = client.get_inference_statistics("m").model_stats[0]
    assert counts.inference_count == 3
    assert counts.inference_stats.success.count == 2
    assert counts.inference_stats.fail.count == 1
