"""Outputs of every size, and models that fail or answer nonsense."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from inferd.core.link.messages import ParameterValue
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import ANYTHING, ROWS, begin, call, request, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import Function, LinkWorker, RawTensor

Start = Callable[..., tuple[GatewayUnderTest, grpc.Channel]]

_WORDS = Signature(
    (TensorSpec("x", "FP32", (Axis("batch", 1), Axis("n"))),),
    (TensorSpec("y", "BYTES", (Axis("batch", 1),)),),
    max_batch_size=4,
)


def growing(factor: int) -> Function:
    """A model whose output is this many times its input."""

    def grow(
        inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
    ) -> list[RawTensor]:
        (x,) = inputs
        assert x is not None
        return [RawTensor("UINT8", (factor * len(x.raw),), factor * x.raw)]

    return grow


def answering(*outputs: RawTensor) -> Function:
    """A model that always answers this."""
    return lambda inputs, parameters: list(outputs)


def some(size: int) -> bytes:
    """A request of this many bytes."""
    return request("m", ("x", "UINT8", (size,)), raw=[bytes([7]) * size]).SerializeToString()


def test_outputs_larger_than_expected_get_their_room(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """The first overflow costs a message more; later ones of its kind are expected."""
    gateway.deploy("m", ANYTHING, [LinkWorker(growing(500))])
    for size in (1, 4_000, 8_000, 3, 8_000):
        response = call(channel, some(size), timeout=30).response
        assert response.raw_output_contents[0] == bytes([7]) * 500 * size


def test_outputs_beyond_the_limit_fail_their_batch_alone(start: Start) -> None:
    """The worker is told to forget them and serves on."""
    gateway, channel = start(max_arena_bytes=4 << 20)
    gateway.deploy("m", ANYTHING, [LinkWorker(growing(500))])
    for _ in range(2):
        outcome = call(channel, some(10_000))
        assert (outcome.code.name, outcome.reason) == ("RESOURCE_EXHAUSTED", "ARENA_FULL")
        assert outcome.retry_after is None
        assert len(call(channel, some(100)).response.raw_output_contents[0]) == 50_000


def test_inputs_beyond_the_limit_fail_alone(start: Start) -> None:
    """What does not fit into the memory of a link never reaches the worker."""
    gateway, channel = start(max_arena_bytes=1 << 20)
    worker = LinkWorker()
    gateway.deploy("m", ANYTHING, [worker])
    assert call(channel, some(2 << 20)).reason == "ARENA_FULL"
    assert worker.batches == []
    assert call(channel, some(100)).code is grpc.StatusCode.OK


def test_requests_that_fit_alone_are_not_batched_beyond_the_limit(start: Start) -> None:
    """Batching never fails a request that would have been served by itself."""
    gateway, channel = start(max_arena_bytes=4 << 20)
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = [begin(channel, rows([[0.0] * 200_000])) for _ in range(4)]
    assert worker.arrived.acquire(timeout=10)
    for _ in range(5):
        call(channel, b"", "ServerLive")
    worker.go.set()
    assert [each.outcome().code.name for each in begun] == ["OK"] * 4


def test_a_model_that_raises_fails_its_batch_alone(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """INTERNAL with what it said, however much and in whatever characters."""
    words = ["plain", "😀" * 100_000, "\x1b[31m\n", ""]

    def fail(
        inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
    ) -> list[RawTensor]:
        raise RuntimeError(words.pop(0)[:20_000])

    gateway.deploy("m", ROWS, [LinkWorker(fail)])
    for expected in ("plain", "😀😀", "\\x1b[31m\\n", ""):
        outcome = call(channel, rows([[0]]))
        assert (outcome.code.name, outcome.reason) == ("INTERNAL", "MODEL_ERROR")
        assert outcome.message.startswith(expected)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [RawTensor("FP32", (2, 1), bytes(8))] * 2,
        [RawTensor("FP32", (1, 1), bytes(4))],
        [RawTensor("FP32", (3, 1), bytes(12))],
        [RawTensor("FP32", (), bytes(4))],
        [RawTensor("FP32", (2, 1), bytes(7))],
        [RawTensor("NONE", (2, 1), bytes(8))],
        [RawTensor("BYTES", (2,), b"\1\0\0\0a\1\0\0")],
        [RawTensor("BYTES", (2,), b"\1\0\0\0a")],
    ],
    ids=["none", "two", "too few rows", "too many rows", "no rows", "bytes", "datatype", "framing", "elements"],
)  # fmt: skip
def test_an_answer_that_is_none_fails_its_batch_alone(
    gateway: GatewayUnderTest, channel: grpc.Channel, outputs: list[RawTensor]
) -> None:
    """Two callers share a batch of two rows; neither gets the other's bytes, both are told."""
    worker = LinkWorker(answering(*outputs))
    gateway.deploy("m", _WORDS, [worker])
    worker.go.clear()
    held = begin(channel, rows([[0]]))
    assert worker.arrived.acquire(timeout=10)
    pair = [begin(channel, rows([[0]])) for _ in range(2)]
    for _ in range(3):
        call(channel, b"", "ServerLive")
    worker.go.set()
    held.outcome()
    for each in pair:
        outcome = each.outcome()
        assert (outcome.code.name, outcome.reason) == ("INTERNAL", "MODEL_OUTPUT_INVALID")
    assert worker.batches == [1, 2]


def test_pieces_of_different_shapes_fail_the_request(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A split request whose rows came back in different widths cannot be joined."""

    def widening(
        inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
    ) -> list[RawTensor]:
        (x,) = inputs
        assert x is not None
        return [RawTensor("FP32", (x.shape[0], x.shape[0]), bytes(4 * x.shape[0] ** 2))]

    gateway.deploy("m", ROWS, [LinkWorker(widening)])
    assert call(channel, rows([[0]] * 6)).reason == "MODEL_OUTPUT_INVALID"
    assert values_of(call(channel, rows([[0]] * 2))) == [[0, 0], [0, 0]]
