"""What can be wrong with a request over HTTP alone; none of it reaches a worker."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from inferd.wire.signature import Axis, Signature, TensorSpec
from support.gateway import GatewayUnderTest
from support.http import LENGTH, HttpOutcome, ask
from support.link_worker import LinkWorker

INFER = "/v2/models/m/infer"
LIMIT = 1 << 20

_N = Axis("batch", 1)

_MODEL = Signature(
    (
        TensorSpec("x", "FP32", (_N, 2)),
        TensorSpec("i", "INT8", (_N,), optional=True),
        TensorSpec("u", "UINT64", (_N,), optional=True),
        TensorSpec("b", "BOOL", (_N,), optional=True),
        TensorSpec("s", "BYTES", (_N,), optional=True),
    ),
    (TensorSpec("y", "FP32", (_N, 2)),),
    max_batch_size=4,
)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[GatewayUnderTest, LinkWorker]]:
    """A gateway with the model `m`."""
    with GatewayUnderTest(http=True, max_message_bytes=LIMIT) as gateway:
        worker = LinkWorker(lambda inputs, _: [each for each in inputs[:1] if each])
        gateway.deploy("m", _MODEL, [worker])
        yield gateway, worker


def tensor(data: Any, name: str = "x", datatype: str = "FP32", shape: Any = (1, 2)) -> Any:
    """An input with its values in JSON."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def beside(data: Any, name: str, datatype: str, shape: Any = (1,)) -> dict[str, Any]:
    """A request with a good `x` and this input."""
    return {"inputs": [tensor([1, 2]), tensor(data, name, datatype, shape)]}


def good(**more: Any) -> dict[str, Any]:
    """A request that is served as it is."""
    return {"inputs": [tensor([[1, 2]])], **more}


BAD, MALFORMED, RANGE = "INVALID_REQUEST", "MALFORMED_MESSAGE", "VALUE_OUT_OF_RANGE"

JSON: dict[str, tuple[bytes | dict[str, Any], str, str]] = {
    "no bytes": (b"", MALFORMED, ""),
    "no JSON": (b"\xde\xad", MALFORMED, ""),
    "half a document": (b'{"inputs": [', MALFORMED, ""),
    "bytes behind the document": (json.dumps(good()).encode() + b"x", MALFORMED, ""),
    "no UTF-8": (b'{"inputs": [{"name": "\xff"}]}', MALFORMED, ""),
    "deep": (b'{"id": ' + b"[" * 200_000, BAD, ""),
    "a list": (b"[]", BAD, ""),
    "no inputs": ({}, BAD, ""),
    "inputs are no list": ({"inputs": {}}, BAD, ""),
    "an input without a name": ({"inputs": [{"datatype": "FP32", "shape": [1, 2]}]}, BAD, ""),
    "a shape with text": ({"inputs": [tensor([1, 2], shape=["1", 2])]}, BAD, ""),
    "a shape with a fraction": ({"inputs": [tensor([1, 2], shape=[1.5, 2])]}, BAD, ""),
    "a shape beyond 64 bits": ({"inputs": [tensor([1, 2], shape=[2**63, 2])]}, BAD, ""),
    "an id that is a number": (good(id=7), BAD, ""),
    "a parameter that is a list": (good(parameters={"k": []}), BAD, ""),
    "a parameter beyond 64 bits": (good(parameters={"k": -(2**63) - 1}), BAD, "parameters[k]"),
    "a parameter of 5000 digits": (b'{"inputs": [], "parameters": {"k": %s}}' % (b"9" * 5000), BAD, ""),
    "binary_data_output is text": (good(parameters={"binary_data_output": "yes"}), BAD, "parameters[binary_data_output]"),
    "binary_data is a number": (good(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]), BAD, "outputs[0].parameters[binary_data]"),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2]}]}, BAD, "inputs[0].data"),
    "data is a number": ({"inputs": [tensor(1)]}, BAD, "inputs[0].data"),
    "data is null": ({"inputs": [tensor(None)]}, BAD, "inputs[0].data"),
    "data of 40 lists": ({"inputs": [tensor(json.loads("[" * 40 + "1" + "]" * 40))]}, BAD, "inputs[0].data"),
    "text among numbers": ({"inputs": [tensor([1, "2"])]}, BAD, "inputs[0].data"),
    "null among numbers": ({"inputs": [tensor([1, None])]}, BAD, "inputs[0].data"),
    "a flag among numbers": ({"inputs": [tensor([1, True])]}, BAD, "inputs[0].data"),
    "lists and numbers": ({"inputs": [tensor([[1], 2])]}, BAD, "inputs[0].data"),
    "uneven lists": ({"inputs": [tensor([[1], [2, 3]])]}, BAD, "inputs[0].data"),
    "lists the other way": ({"inputs": [tensor([[1], [2]])]}, BAD, "inputs[0].data"),
    "too few": ({"inputs": [tensor([1])]}, BAD, "inputs[0].data"),
    "too many": ({"inputs": [tensor([1, 2, 3])]}, BAD, "inputs[0].data"),
    "none": ({"inputs": [tensor([])]}, BAD, "inputs[0].data"),
    "FP32 beyond its range": ({"inputs": [tensor([1, 1e39])]}, RANGE, "inputs[0].data[1]"),
    "INT8 with a fraction": (beside([1.5], "i", "INT8"), BAD, "inputs[1].data"),
    "INT8 of 300": (beside([300], "i", "INT8"), RANGE, "inputs[1].data[0]"),
    "UINT64 of -1": (beside([-1], "u", "UINT64"), RANGE, "inputs[1].data[0]"),
    "UINT64 of 2^64": (beside([2**64], "u", "UINT64"), RANGE, "inputs[1].data[0]"),
    "UINT64 of 5000 digits": (b'{"inputs": [{"name": "u", "datatype": "UINT64", "shape": [1], "data": [%s]}]}' % (b"9" * 5000), BAD, "inputs[0].data"),
    "BOOL of 1": (beside([1], "b", "BOOL"), BAD, "inputs[1].data"),
    "BYTES without UTF-8": (b'{"inputs": [{"name": "s", "datatype": "BYTES", "shape": [1], "data": ["\xff"]}]}', BAD, "inputs[0].data"),
    "half a surrogate": (b'{"inputs": [{"name": "s", "datatype": "BYTES", "shape": [1], "data": ["\\ud800"]}]}', MALFORMED, ""),
    "BYTES of a number": (beside([1], "s", "BYTES"), BAD, "inputs[1].data"),
    "uneven lists of text": (beside([["a"], ["b", "c"]], "s", "BYTES", (3,)), BAD, "inputs[1].data"),
    "binary_data_size without the header": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}, BAD, "inputs[0].parameters[binary_data_size]"),
    "300 outputs": (good(outputs=[{"name": "y"}] * 300), "STRUCTURE_TOO_LARGE", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_each_mistake_in_json_has_its_reason(
    served: tuple[GatewayUnderTest, LinkWorker], case: str
) -> None:
    """And says where it is, in printable text."""
    gateway, worker = served
    body, reason, field = JSON[case]
    outcome = ask(gateway.http, INFER, body)
    _is(outcome, 400, reason)
    assert outcome.document.get("field", "") == field
    assert worker.batches == []


BEHIND: dict[str, tuple[dict[str, Any], bytes, str | None]] = {
    "too few bytes": ({"binary_data_size": 8}, bytes(7), None),
    "too many bytes": ({"binary_data_size": 8}, bytes(9), None),
    "a negative size": ({"binary_data_size": -1}, bytes(8), None),
    "a size of text": ({"binary_data_size": "8"}, bytes(8), None),
    "a size of 2^64": ({"binary_data_size": 2**64}, bytes(8), None),
    "a header beyond the body": ({"binary_data_size": 8}, bytes(8), "9999"),
    "a header of text": ({"binary_data_size": 8}, bytes(8), "x"),
    "a negative header": ({"binary_data_size": 8}, bytes(8), "-1"),
    "a header within the JSON": ({"binary_data_size": 8}, bytes(8), "10"),
}


@pytest.mark.parametrize("case", BEHIND)
def test_bytes_behind_the_json_must_be_as_announced(
    served: tuple[GatewayUnderTest, LinkWorker], case: str
) -> None:
    """Neither more nor fewer, and the header is a number."""
    gateway, worker = served
    parameters, raw, length = BEHIND[case]
    document = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": parameters}
    text = json.dumps({"inputs": [document]}).encode()
    outcome = ask(gateway.http, INFER, text + raw, {LENGTH: length or str(len(text))})
    assert outcome.status == 400, outcome
    assert worker.batches == []


def test_data_and_bytes_exclude_each_other(served: tuple[GatewayUnderTest, LinkWorker]) -> None:
    """It would not be clear which are meant."""
    gateway, _ = served
    document = {**tensor([1, 2]), "parameters": {"binary_data_size": 8}}
    text = json.dumps({"inputs": [document]}).encode()
    _is(ask(gateway.http, INFER, text + bytes(8), {LENGTH: str(len(text))}), 400, BAD)


def test_a_body_above_the_limit_is_refused(served: tuple[GatewayUnderTest, LinkWorker]) -> None:
    """Announced, or in chunks of unknown number; the connection's next request is served."""
    gateway, _ = served
    _is(ask(gateway.http, INFER, bytes(LIMIT + 1)), 413, "MESSAGE_TOO_LARGE")
    with socket.create_connection(_place(gateway.http), timeout=20) as caller:
        caller.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        for _ in range(17):
            caller.sendall(chunk)
        assert b" 413 " in caller.recv(100)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused(served: tuple[GatewayUnderTest, LinkWorker], encoding: str) -> None:
    """A few kilobytes that unpack to a hundred times the limit."""
    gateway, _ = served
    plain = bytes(100 * LIMIT)
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    assert len(packed) < LIMIT // 4
    outcome = ask(gateway.http, INFER, packed, {"Content-Encoding": encoding})
    _is(outcome, 413, "MESSAGE_TOO_LARGE")


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"not packed", 400),
        ("deflate", b"not packed", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-5], 400),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400),
        ("gzip", b"", 400),
    ],
)
def test_bodies_packed_in_other_ways_are_refused(
    served: tuple[GatewayUnderTest, LinkWorker], encoding: str, body: bytes, status: int
) -> None:
    """Unknown ways, and bytes that are not what is said of them."""
    gateway, _ = served
    outcome = ask(gateway.http, INFER, body, {"Content-Encoding": encoding}, method="POST")
    assert outcome.status == status, outcome


def test_a_head_without_an_end_is_refused(served: tuple[GatewayUnderTest, LinkWorker]) -> None:
    """A caller cannot fill memory with headers."""
    gateway, _ = served
    with socket.create_connection(_place(gateway.http), timeout=20) as caller:
        caller.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(200):
                caller.sendall(b"a: " + b"b" * 8000 + b"\r\n")
        except OSError:
            return  # it hung up on us meanwhile
        assert b" 400 " in caller.recv(100)


def test_what_is_no_http_is_refused(served: tuple[GatewayUnderTest, LinkWorker]) -> None:
    """With the status that says so."""
    gateway, _ = served
    with socket.create_connection(_place(gateway.http), timeout=20) as caller:
        caller.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.1 400 ")


def test_bad_requests_leave_the_server_as_it_was(
    served: tuple[GatewayUnderTest, LinkWorker],
) -> None:
    """After all of them the good request is served; unknown keys are ignored."""
    gateway, _ = served
    assert ask(gateway.http, INFER, good(unknown=1)).status == 200


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _is(outcome: HttpOutcome, status: int, reason: str) -> None:
    assert (outcome.status, outcome.document["reason"]) == (status, reason), outcome
    assert outcome.document["error"].isprintable()
    assert len(outcome.document["error"]) <= 512
