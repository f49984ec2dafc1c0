"""Inference over HTTP: JSON, bytes behind it, bytes alone, and packed bodies."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from inferd.core.link.messages import DeploymentDrained
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import encode_bytes
from support.calls import ANYTHING, ROWS
from support.gateway import GatewayUnderTest
from support.http import LENGTH, ask, send
from support.link_worker import LinkWorker, RawTensor

INFER = "/v2/models/m/infer"


@pytest.fixture(scope="module")
def shared() -> Iterator[GatewayUnderTest]:
    """One gateway for all tests."""
    with GatewayUnderTest(http=True) as started:
        yield started


@pytest.fixture
def gateway(shared: GatewayUnderTest) -> Iterator[GatewayUnderTest]:
    """It, for a test that deploys the model `m`."""
    yield shared
    shared.publish("m")
    shared.expect(DeploymentDrained)


def of_rows(data: Any, shape: list[int], **more: Any) -> dict[str, Any]:
    """A request of FP32 rows in JSON."""
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}], **more}


@pytest.mark.parametrize(
    "data", [[[1, 2.5], [3, -4]], [1, 2.5, 3, -4], [[[1], [2.5]], [[3], [-4]]]]
)
def test_json_in_and_out(gateway: GatewayUnderTest, data: Any) -> None:
    """Nested as the shape, flat, or nested in another way: the same tensor; the answer is flat."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    for path in (INFER, "/v2/models/m/versions/1/infer"):
        outcome = ask(gateway.http, path, of_rows(data, [2, 2], id="7"))
        assert outcome.status == 200, outcome
        assert outcome.headers["content-type"] == "application/json"
        assert outcome.document == {
            "model_name": "m",
            "model_version": "1",
            "id": "7",
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2.5, 3, -4]}
            ],
        }


JSON: dict[str, tuple[list[Any], bytes]] = {
    "BOOL": ([True, False], b"\1\0"),
    "UINT8": ([0, 255], b"\0\xff"),
    "UINT16": ([0, 65535], b"\0\0\xff\xff"),
    "UINT32": ([2**32 - 1], b"\xff" * 4),
    "UINT64": ([2**64 - 1, 0], b"\xff" * 8 + bytes(8)),
    "INT8": ([-128, 127], b"\x80\x7f"),
    "INT16": ([-1], b"\xff\xff"),
    "INT32": ([-(2**31)], b"\0\0\0\x80"),
    "INT64": ([-(2**63), 2**63 - 1], bytes(7) + b"\x80" + b"\xff" * 7 + b"\x7f"),
    "FP32": ([1.5, -0.25], np.array([1.5, -0.25], "<f4").tobytes()),
    "FP64": ([0.1, 1e300], np.array([0.1, 1e300], "<f8").tobytes()),
    "BYTES": (["", "ü", "a\0b"], encode_bytes([b"", "ü".encode(), b"a\0b"])),
}


@pytest.mark.parametrize("datatype", JSON)
def test_every_datatype_of_json(gateway: GatewayUnderTest, datatype: str) -> None:
    """The worker gets the raw form, and what it gives back comes as it went."""
    seen: list[bytes] = []

    def model(inputs: list[RawTensor | None], _: object) -> list[RawTensor]:
        (tensor,) = inputs
        assert tensor is not None
        seen.append(tensor.raw)
        return [tensor]

    gateway.deploy("m", ANYTHING, [LinkWorker(model)])
    data, raw = JSON[datatype]
    tensor = {"name": "x", "datatype": datatype, "shape": [len(data)], "data": data}
    outcome = ask(gateway.http, INFER, {"inputs": [tensor]})
    assert outcome.status == 200, outcome
    assert seen == [raw]
    assert outcome.document["outputs"][0]["data"] == data


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_for_bytes_only(gateway: GatewayUnderTest, datatype: str) -> None:
    """JSON says so in both directions, in Triton's words; as bytes they pass."""
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    tensor: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": [2]}
    inward = ask(gateway.http, INFER, {"inputs": [{**tensor, "data": [1, 2]}]})
    outward = _binary(gateway.http, {**tensor, "parameters": {"binary_data_size": 4}}, b"abcd")
    for outcome, what in ((inward, "input 'x'"), (outward, "output 'y'")):
        assert (outcome.status, outcome.document["reason"]) == (400, "NOT_IN_JSON")
        assert f"{datatype} data via JSON is not supported" in outcome.document["error"]
        assert what in outcome.document["error"]
    both = _binary(
        gateway.http,
        {**tensor, "parameters": {"binary_data_size": 4}},
        b"abcd",
        parameters={"binary_data_output": True},
    )
    assert both.behind == b"abcd"


def test_bytes_that_are_no_text_are_refused_in_json(gateway: GatewayUnderTest) -> None:
    """Rather than changed on the way; as bytes they pass."""
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    raw = encode_bytes([b"\xff"])
    tensor = {
        "name": "x",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(raw)},
    }
    outcome = _binary(gateway.http, tensor, raw)
    assert (outcome.status, outcome.document["reason"]) == (400, "NOT_IN_JSON")
    outcome = _binary(gateway.http, tensor, raw, parameters={"binary_data_output": True})
    assert outcome.behind == raw


def test_numbers_that_json_lacks_come_as_null(gateway: GatewayUnderTest) -> None:
    """Strict readers of JSON must be able to read every answer."""
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    raw = np.array([np.nan, np.inf, 1], "<f4").tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [3],
        "parameters": {"binary_data_size": 12},
    }
    assert _binary(gateway.http, tensor, raw).document["outputs"][0]["data"] == [None, None, 1]


TWO = Signature(
    (TensorSpec("a", "FP32", (Axis("batch", 1), 2)), TensorSpec("b", "BYTES", (Axis("batch", 1),))),
    (TensorSpec("c", "FP32", (Axis("batch", 1), 2)), TensorSpec("d", "BYTES", (Axis("batch", 1),))),
    max_batch_size=8,
)


@pytest.mark.parametrize(
    ("outputs", "default", "binary"),
    [
        ([], False, ""),
        ([], True, "cd"),
        ([{"name": "d"}, {"name": "c"}], True, "dc"),
        ([{"name": "c", "parameters": {"binary_data": False}}, {"name": "d"}], True, "d"),
        ([{"name": "c", "parameters": {"binary_data": True}}, {"name": "d"}], False, "c"),
    ],
)
def test_each_output_comes_as_it_is_asked_for(
    gateway: GatewayUnderTest, outputs: list[dict[str, Any]], *, default: bool, binary: str
) -> None:
    """In the order asked for; one input as bytes, the other in JSON."""
    gateway.deploy("m", TWO, [LinkWorker()])
    raw = {
        "c": np.array([[1, 2], [3, 4]], "<f4").tobytes(),
        "d": encode_bytes([b"u", b"vw"]),
    }
    document = {
        "inputs": [
            {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["u", "vw"]},
            {
                "name": "a",
                "datatype": "FP32",
                "shape": [2, 2],
                "parameters": {"binary_data_size": 16},
            },
        ],
        "outputs": outputs,
        "parameters": {"binary_data_output": default},
    }
    text = json.dumps(document).encode()
    outcome = ask(gateway.http, INFER, text + raw["c"], {LENGTH: str(len(text))})
    assert outcome.status == 200, outcome
    found = outcome.document["outputs"]
    names = [each["name"] for each in outputs] or ["c", "d"]
    assert [each["name"] for each in found] == names
    assert (LENGTH.lower() in outcome.headers) == bool(binary)
    for each in found:
        if each["name"] in binary:
            assert each["parameters"] == {"binary_data_size": len(raw[each["name"]])}
        else:
            assert each["data"] == {"c": [1, 2, 3, 4], "d": ["u", "vw"]}[each["name"]]
    if binary:
        assert outcome.behind == b"".join(raw[name] for name in binary)


@pytest.mark.parametrize(
    ("signature", "body", "shape"),
    [
        (ROWS, bytes(12), [1, 3]),
        (Signature((TensorSpec("x", "INT8", (2, Axis("n"))),), ROWS.outputs), b"123456", [2, 3]),
        (Signature((TensorSpec("x", "INT16", (2,)),), ROWS.outputs), b"1234", [2]),
        (Signature((TensorSpec("x", "BYTES", (Axis("batch", 1), 1)),), ROWS.outputs, 4), b"a", [1, 1]),
        (Signature((TensorSpec("x", "FP16", None),), ROWS.outputs), b"1234", [2]),
    ],
)  # fmt: skip
def test_a_body_can_be_the_only_input(
    gateway: GatewayUnderTest, signature: Signature, body: bytes, shape: list[int]
) -> None:
    """Its shape follows from the number of bytes; the answer comes as bytes, too."""
    gateway.deploy("m", signature, [LinkWorker()])
    outcome = ask(gateway.http, INFER, body, {LENGTH: "0"})
    assert outcome.status == 200, outcome
    assert outcome.document["outputs"][0]["shape"] == shape
    expected = encode_bytes([body]) if signature.inputs[0].datatype == "BYTES" else body
    assert outcome.behind == expected


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        (ANYTHING, b"1234"),
        (TWO, b"1234"),
        (ROWS, b"123"),
        (Signature((TensorSpec("x", "INT8", (Axis("a"), Axis("b"))),), ROWS.outputs), b"1234"),
        (Signature((TensorSpec("x", "INT16", (2,)),), ROWS.outputs), b"12345"),
    ],
)
def test_a_body_whose_shape_is_not_clear_is_refused(
    gateway: GatewayUnderTest, signature: Signature, body: bytes
) -> None:
    """With what to send instead, or what it should have been."""
    gateway.deploy("m", signature, [LinkWorker()])
    outcome = ask(gateway.http, INFER, body, {LENGTH: "0"})
    assert outcome.status == 400
    assert "bytes" in outcome.document["error"] or LENGTH in outcome.document["error"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies_are_unpacked(gateway: GatewayUnderTest, encoding: str) -> None:
    """The length of the JSON is that of the unpacked one."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    document = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [4, 5000],
                "parameters": {"binary_data_size": 80_000},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    raw = np.arange(20_000, dtype="<f4").tobytes()
    text = json.dumps(document).encode()
    pack: Callable[[bytes], bytes] = gzip.compress if encoding == "gzip" else zlib.compress
    headers = {LENGTH: str(len(text)), "Content-Encoding": encoding}
    outcome = ask(gateway.http, INFER, pack(text + raw), headers)
    assert outcome.status == 200, outcome
    assert outcome.behind == raw


def test_large_tensors_pass_in_json_and_as_bytes(gateway: GatewayUnderTest) -> None:
    """Of several megabytes, on one connection after each other."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    values = np.arange(1 << 18, dtype="<f4").reshape(4, -1)
    shape = list(values.shape)
    connection = http.client.HTTPConnection(gateway.http, timeout=20)
    outcome = send(connection, INFER, of_rows(values.tolist(), shape))
    assert outcome.document["outputs"][0]["data"] == values.ravel().tolist()
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": shape}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    text = json.dumps(document).encode()
    pieces = iter([text, *(values[row].tobytes() for row in range(4))])
    connection.request("POST", INFER, pieces, {LENGTH: str(len(text))}, encode_chunked=True)
    response = connection.getresponse()
    assert response.read().endswith(values.tobytes())
    connection.close()


def _binary(address: str, tensor: dict[str, Any], raw: bytes, **more: Any) -> Any:
    text = json.dumps({"inputs": [tensor], **more}).encode()
    return ask(address, INFER, text + raw, {LENGTH: str(len(text))})
