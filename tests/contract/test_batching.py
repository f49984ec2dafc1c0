"""Batched answers equal unbatched ones, for any mix of sizes, shapes and datatypes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferd.core.link.messages import ParameterValue
from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import decode_bytes, encode_bytes
from support.calls import begin, call, request
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker, RawTensor

_MAX_BATCH = 4

_SIGNATURE = Signature(
    (TensorSpec("x", "ANY", None), TensorSpec("w", "FP32", (Axis("batch"), 2), optional=True)),
    (TensorSpec("y", "ANY", None), TensorSpec("text", "BYTES", (Axis("batch"),))),
    max_batch_size=_MAX_BATCH,
)


def row_by_row(
    inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
) -> list[RawTensor]:
    """Each row twice, and as text with its weights: a row's outputs depend on that row alone."""
    x, weights = inputs
    assert x is not None
    rows = rows_of(x)
    extra = [b""] * len(rows) if weights is None else rows_of(weights)
    twice = RawTensor(x.datatype, (len(rows), 2, *x.shape[1:]), b"".join(2 * row for row in rows))
    text = [repr((row, weight)).encode() for row, weight in zip(rows, extra, strict=True)]
    return [twice, RawTensor("BYTES", (len(rows),), encode_bytes(text))]


def rows_of(tensor: RawTensor) -> list[bytes]:
    """The raw bytes of each row."""
    count = tensor.shape[0]
    elements = int(np.prod(tensor.shape[1:]))
    if tensor.datatype == "BYTES":
        words = decode_bytes(tensor.raw, count * elements)
        return [encode_bytes(words[at * elements : (at + 1) * elements]) for at in range(count)]
    size = elements * DATATYPES[tensor.datatype].itemsize
    return [tensor.raw[at * size : (at + 1) * size] for at in range(count)]


@dataclass(frozen=True)
class Sent:
    """One request: its tensors, and whether they come in typed contents or ask for one output."""

    inputs: tuple[RawTensor, ...]
    outputs: tuple[str, ...]
    id: str

    def payload(self) -> bytes:
        """The serialised request."""
        heads = [
            (name, each.datatype, each.shape)
            for name, each in zip(("x", "w"), self.inputs, strict=False)
        ]
        raw = [each.raw for each in self.inputs]
        return request("m", *heads, raw=raw, id=self.id, outputs=self.outputs).SerializeToString()


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """Zero to three batches of rows, of few row shapes, so that many requests share a lane."""
    datatype = draw(st.sampled_from(["FP32", "INT8", "BOOL", "BF16", "BYTES", "FP64"]))
    shape = (draw(st.integers(0, 3 * _MAX_BATCH)), *draw(st.sampled_from([(), (2,), (3, 1), (0,)])))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if datatype == "BYTES":
        raw = encode_bytes([random.bytes(int(n)) for n in random.integers(0, 9, count)])
    elif datatype == "BOOL":
        raw = random.integers(0, 2, count, dtype=np.uint8).tobytes()
    else:
        raw = random.bytes(count * DATATYPES[datatype].itemsize)
    inputs = [RawTensor(datatype, shape, raw)]
    if draw(st.booleans()):
        inputs.append(RawTensor("FP32", (shape[0], 2), random.bytes(8 * shape[0])))
    outputs = draw(st.sampled_from([(), ("text",), ("text", "y")]))
    return Sent(tuple(inputs), outputs, draw(st.sampled_from(["", "a", "b"])))


def expected(sent: Sent) -> ModelInferResponse:
    """The answer of the model without a server."""
    given_inputs: list[RawTensor | None] = [*sent.inputs, None][:2]
    outputs = dict(zip(("y", "text"), row_by_row(given_inputs, None), strict=True))
    answer = ModelInferResponse(model_name="m", model_version="1", id=sent.id)
    for name in sent.outputs or ("y", "text"):
        tensor = outputs[name]
        answer.outputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
        answer.raw_output_contents.append(tensor.raw)
    return answer


@pytest.fixture(scope="module", params=[0.0, 0.004], ids=["at once", "with a delay"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[grpc.Channel, list[LinkWorker]]]:
    """A gateway with two workers of the same model."""
    with GatewayUnderTest() as gateway:
        workers = [LinkWorker(row_by_row), LinkWorker(row_by_row)]
        gateway.deploy("m", _SIGNATURE, workers, max_queue_delay=request.param)
        with grpc.insecure_channel(gateway.address) as channel:
            yield channel, workers


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(requests(), min_size=1, max_size=12), st.integers(0, 12))
def test_batched_answers_equal_unbatched_ones(
    served: tuple[grpc.Channel, list[LinkWorker]], sent: list[Sent], released: int
) -> None:
    """Sent at once, some while the workers are held: to each request its own rows, in order."""
    channel, workers = served
    for worker in workers:
        worker.go.clear()
    begun = [begin(channel, each.payload()) for each in sent[:released]]
    call(channel, b"", "ServerLive")
    for worker in workers:
        worker.go.set()
    begun += [begin(channel, each.payload()) for each in sent[released:]]
    for each, answer in zip(sent, begun, strict=True):
        assert answer.outcome().response == expected(each)
    for worker in workers:
        assert all(rows <= _MAX_BATCH for rows in worker.batches)


def test_the_property_was_about_batches(
    served: tuple[grpc.Channel, list[LinkWorker]],
) -> None:
    """Requests of one row were executed together, or the test above showed nothing."""
    channel, workers = served
    for worker in workers:
        worker.batches.clear()
        worker.go.clear()
    one = Sent((RawTensor("INT8", (1, 2), b"ab"),), (), "")
    begun = [begin(channel, one.payload()) for _ in range(12)]
    for _ in range(3):
        call(channel, b"", "ServerLive")
    for worker in workers:
        worker.go.set()
    assert all(each.outcome().response == expected(one) for each in begun)
    assert max(size for worker in workers for size in worker.batches) == _MAX_BATCH
