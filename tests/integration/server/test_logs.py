"""What a server logs: what its models print, who was served, and nothing that is nobody's business."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from inferd.protos.oip_pb2 import ModelInferRequest, ModelStreamInferResponse
from inferd.protos.services import INFERENCE_METHODS
from support.repository import write_code
from support.server import Server

TALKER = """
import ctypes, os, sys, threading, warnings

class Talker(Model):
    def predict(self, x):
        print("said by Python \\x1b[2J")
        print("said on stderr", file=sys.stderr)
        os.write(1, b"said by a descriptor\\n")
        ctypes.CDLL(None).puts(b"said by C")
        warnings.warn("a warning of Python")
        if x.sum() == 13:
            sys.stdout.write("begun and never ended")
            sys.stdout.flush()
            os.abort()
        if x.sum() == 14:
            thread = threading.Thread(target=lambda: int("thread's fault"))
            thread.start()
            thread.join()
        return x
"""

SECRET = "Bearer SECRET-7f3a"
NUMBER = 77123.25
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
METADATA = (
    ("authorization", SECRET),
    ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),
)

Document = dict[str, Any]


def request(number: float, model: str = "talker", request_id: str = "") -> bytes:
    """One row, all of the same number."""
    message = ModelInferRequest(model_name=model, id=request_id)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.full(4, number, dtype=np.float32).tobytes())
    return message.SerializeToString()


def code_of(channel: grpc.Channel, payload: bytes) -> grpc.StatusCode:
    """Call ModelInfer; how it went."""
    infer = channel.unary_unary(INFERENCE_METHODS["ModelInfer"].path, bytes, bytes)
    try:
        infer(payload, timeout=20, metadata=METADATA)
    except grpc.RpcError as error:
        found: grpc.StatusCode = error.code()
        return found
    return grpc.StatusCode.OK


def converse(server: Server) -> None:
    """Calls of every kind, the last of which kills the worker."""
    body = {
        "id": "over-http",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [NUMBER] * 4}],
    }
    for content, status in ((json.dumps(body), 200), ("{", 400)):
        connection = HTTPConnection(server.http, timeout=20)
        connection.request("POST", "/v2/models/talker/infer", content, dict(METADATA))
        assert connection.getresponse().status == status
        connection.close()
    options = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(server.address, options=options) as channel:
        assert code_of(channel, request(NUMBER, request_id="unary")) is grpc.StatusCode.OK
        bad_id = request(NUMBER, request_id="bad\x1b")
        assert code_of(channel, bad_id) is grpc.StatusCode.INVALID_ARGUMENT
        bad_name = request(NUMBER, "no\x1bmodel")
        assert code_of(channel, bad_name) is grpc.StatusCode.INVALID_ARGUMENT
        stream = channel.stream_stream(INFERENCE_METHODS["ModelStreamInfer"].path, bytes, bytes)
        payloads = iter([request(NUMBER, request_id="in-a-stream")])
        answers = [*stream(payloads, timeout=20, metadata=METADATA)]
        assert not ModelStreamInferResponse.FromString(answers[0]).error_message
        assert code_of(channel, request(14 / 4)) is grpc.StatusCode.OK
        assert code_of(channel, request(13 / 4)) is grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that a server logged at level debug, every request included, from start to end."""
    folder = tmp_path_factory.mktemp("logs")
    write_code(folder / "talker", TALKER)
    options = ("--trust", "talker", "--log-level", "debug", "--access-log", "1")
    with Server(folder, [folder / "talker"], *options) as server:
        converse(server)
    assert "said" not in server.terminal
    return Path(server.log).read_text()


@pytest.fixture
def documents(log: str) -> list[Document]:
    """The lines as a reader of JSON has them."""
    return [json.loads(line) for line in log.splitlines()]


def of(documents: list[Document], dataset: str) -> list[Document]:
    """The lines of one kind."""
    return [each for each in documents if each.get("event", {}).get("dataset") == dataset]


def test_what_a_model_prints_is_logged_with_its_name(documents: list[Document]) -> None:
    """Python's, C's and what goes past both, with the stream and the worker's pid."""
    found = of(documents, "inferd.output")
    said = {each["message"]: each for each in found if each["message"].startswith("said")}
    assert sorted(said) == [
        "said by C",
        "said by Python \x1b[2J",
        "said by a descriptor",
        "said on stderr",
    ]
    for message, each in said.items():
        assert (each["inferd"]["model"], each["inferd"]["version"]) == ("talker", 1)
        assert each["inferd"]["worker"] > 1
        bad = message == "said on stderr"
        assert each["inferd"]["stream"] == ("stderr" if bad else "stdout")
        assert each["log.level"] == ("warning" if bad else "info")


def test_last_words_of_a_worker_are_logged(documents: list[Document]) -> None:
    """What it had begun to say when it died, and where it was; before the news of its death."""
    supervisor = [each for each in documents if each["process"]["title"] == "supervisor"]
    messages = [each["message"] for each in supervisor]
    lost = messages.index("worker lost")
    assert messages.index("begun and never ended") < lost
    assert messages.index("Fatal Python error: Aborted") < lost
    assert any("model.py" in each and "in predict" in each for each in messages[:lost])


def test_faults_of_own_code_are_log_lines_of_the_worker(documents: list[Document]) -> None:
    """Warnings and what a thread of its own raised."""
    workers = [each for each in documents if each["process"]["title"] == "worker"]
    assert any("a warning of Python" in each["message"] for each in workers)
    (fault,) = [each for each in workers if each["message"] == "uncaught exception"]
    assert fault["error"]["type"] == "ValueError"
    assert "thread's fault" in fault["error"]["stack_trace"]


def test_each_request_has_its_line(documents: list[Document]) -> None:
    """Of every way in, refused ones too: what, how it went, how long and how much."""
    found = of(documents, "inferd.access")
    summary = [
        (
            each["network"]["protocol"],
            each["inferd"]["method"],
            each["inferd"]["model"],
            each["inferd"]["version"],
            each["http"]["request"].get("id"),
            each["inferd"]["status"],
            each["event"]["outcome"],
        )
        for each in found
    ]
    unary, ok = ("grpc", "ModelInfer"), ("OK", "success")
    assert summary == [
        ("http", "ModelInfer", "talker", "1", "over-http", *ok),
        ("http", "ModelInfer", "talker", "1", None, "INVALID_ARGUMENT", "failure"),
        (*unary, "talker", "1", "unary", *ok),
        (*unary, "talker", "1", "bad\x1b", "INVALID_ARGUMENT", "failure"),
        (*unary, "no\x1bmodel", "", None, "INVALID_ARGUMENT", "failure"),
        ("grpc", "ModelStreamInfer", "talker", "1", "in-a-stream", *ok),
        (*unary, "talker", "1", None, *ok),
        (*unary, "talker", "1", None, "UNAVAILABLE", "failure"),
    ]
    assert [each["http"].get("response", {}).get("status_code") for each in found[:3]] == [
        200,
        400,
        None,
    ]
    for each in found:
        assert each["trace"]["id"] == TRACE
        assert each["client"]["ip"] == "127.0.0.1"
        assert each["client"]["port"] > 0
        assert each["event"]["duration"] > 0
        assert each["http"]["request"]["body"]["bytes"] > 0
        answered = each["inferd"]["status"] == "OK"
        assert bool(each["http"]["response"]["body"]["bytes"]) is answered
        assert ("code" in each.get("error", {})) is not answered


def test_neither_tensors_nor_secrets_are_logged(log: str) -> None:
    """Nor their bytes, at level debug and with every request in the access log."""
    assert "SECRET" not in log
    assert "authorization" not in log.lower()
    assert str(NUMBER)[:5] not in log
    assert repr(np.float32(NUMBER).tobytes())[2:-1] not in log


def test_no_line_drives_a_terminal(log: str) -> None:
    """Whatever clients and models send."""
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log) == []
