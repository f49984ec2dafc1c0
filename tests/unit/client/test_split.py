"""Requests larger than the server's messages: several of them, joined again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inferd.client import (
    Client,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    connect,
    connect_async,
)
from inferd.protos import oip_pb2 as oip
from inferd.wire.errors import QueueFull
from support.oip_server import OipServer

LIMIT = 10_000


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A server that takes requests of up to `LIMIT` bytes."""
    with OipServer(message_limit=LIMIT) as running:
        yield running


def numbers(rows: int) -> np.ndarray:
    """Different rows of 8 bytes."""
    return np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)


def test_a_large_request_is_several(client: Client, server: OipServer) -> None:
    """All rows once and in order, none of the requests above the limit, as few as need be."""
    rows = numbers(4000)  # 32,000 bytes
    prediction = client.model("identity-fp32").infer(rows, request_id="a", parameters={"top": 3})
    np.testing.assert_array_equal(prediction.value, rows)
    assert (prediction.id, prediction.version) == ("a", "1")
    assert dict(prediction.parameters) == {"top": 3}
    assert prediction.timings.call > 0
    assert len(server.requests) == 4
    assert max(request.ByteSize() for request in server.requests) <= LIMIT
    assert {request.id for request in server.requests} == {"a"}


def test_the_limit_is_learnt_once(client: Client, server: OipServer) -> None:
    """The first request is refused by the server, the next ones are split before they are sent."""
    model = client.model("identity-fp32")
    model(numbers(10))
    assert client.message_limit is None
    model(numbers(2000))
    assert client.message_limit == LIMIT
    server.requests.clear()
    model(numbers(2000))
    model(numbers(10))
    assert len(server.requests) == 3


def test_every_input_is_split_at_the_same_rows(client: Client) -> None:
    """Several inputs and outputs, torch in and torch out, text among them."""
    left = torch.arange(6000, dtype=torch.float32).reshape(2000, 3)
    right = torch.arange(2000).reshape(2000, 1)
    answer = client.model("pair")(left, right)
    assert torch.equal(answer["first"], left)
    assert torch.equal(answer["second"], right)


def test_rows_of_text_are_not_equally_long(client: Client, server: OipServer) -> None:
    """Where half of the text is in a few rows, those get requests of their own."""
    words = [[b"x" * (4000 if at < 5 else 3), b"y"] for at in range(500)]
    answer = client.model("identity-bytes")(words)
    assert answer.tolist() == words
    assert max(request.ByteSize() for request in server.requests) <= LIMIT


async def test_asyncio_splits_as_well(server: OipServer) -> None:
    """The same rows, the same answer."""
    rows = numbers(3000)
    async with connect_async(server.address, timeout=10) as client:
        np.testing.assert_array_equal(await client.model("identity-fp32")(rows), rows)
        assert client.message_limit == LIMIT


@pytest.mark.parametrize(
    ("model", "value", "parameters", "reason"),
    [
        ("plain", np.zeros((2, 2000), np.float32), {}, "the model does not batch"),
        ("identity-bytes", [[b"x" * 20_000, b""]] * 2, {}, "one row of it is that large"),
        ("identity-fp32", numbers(2000), {"sequence_id": 1}, "it cannot be split into rows"),
    ],
)
def test_what_cannot_be_split_is_refused(
    client: Client, model: str, value: object, parameters: dict[str, int], reason: str
) -> None:
    """With the sizes, why it cannot be split and what to do."""
    with pytest.raises(Overloaded, match=reason) as refused:
        client.model(model).infer(value, parameters=parameters)
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert "the server takes 10,000 in one message" in refused.value.message
    assert "raise the server's max_message_bytes" in refused.value.message


def test_other_refusals_are_not_about_size(client: Client, server: OipServer) -> None:
    """An overloaded server gets no more requests for it."""
    server.faults.append(QueueFull("the queue is full"))
    with pytest.raises(Overloaded, match="the queue is full"):
        client.model("identity-fp32")(numbers(1))
    assert client.message_limit is None
    with pytest.raises(ModelNotFound):
        client.model("nobody")(numbers(1))


def test_parts_of_two_versions_are_no_answer(client: Client, server: OipServer) -> None:
    """A model replaced between two parts: a retry gets one version's answer."""
    tensor = oip.ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=[0, 2])
    other = oip.ModelInferResponse(model_name="identity-fp32", model_version="2", outputs=[tensor])
    other.raw_output_contents.append(b"")
    server.faults.append(other)
    with pytest.raises(ServerUnavailable, match="versions 1 and 2") as raised:
        client.model("identity-fp32")(numbers(2000))
    assert raised.value.reason == "VERSION_CHANGED"


def test_a_real_limit_is_64_mib() -> None:
    """GRPC's words are understood for large numbers as for small ones."""
    with OipServer(message_limit=64 << 20) as large, connect(large.address) as client:
        rows = np.zeros((9, 1 << 21), np.float32)  # 72 MiB
        assert client.model("echo")(rows).shape == rows.shape
        assert [request.inputs[0].shape[0] for request in large.requests] == [5, 4]
