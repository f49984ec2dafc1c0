"""What is asked of every contender: the model, the shape of a request, and how many callers send it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inferd.protos.oip_pb2 import ModelInferRequest

MODEL, INPUT, OUTPUT, DATATYPE = "echo", "input", "output", "FP32"
"""Names on the wire, wherever a server lets us choose them."""

BULK_ROWS = 100_000
"""Rows of a bulk run, rounded up to whole requests."""

_SEED = 20_240_501


@dataclass(frozen=True, slots=True)
class Scenario:
    """One FP32 tensor of `shape` to `model`, from `callers` that each wait for the answer.

    The callers are spread evenly over `connections`. `bare_batches` are the batch sizes at which
    the bare model runs beside it. A timed run has `requests` requests; None: as many as take the
    seconds asked for.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    callers: int
    connections: int
    model: str = MODEL
    max_batch: int = 1
    bare_batches: tuple[int, ...] = ()
    requests: int | None = None

    @property
    def rows(self) -> int:
        """Rows in each request."""
        return self.shape[0]

    def values(self) -> bytes:
        """The tensor's raw bytes: random, and the same in every run."""
        numbers = np.random.default_rng(_SEED).standard_normal(math.prod(self.shape), np.float32)
        return numbers.astype("<f4").tobytes()

    def request(self) -> bytes:
        """The serialised ModelInferRequest."""
        message = ModelInferRequest(model_name=self.model)
        message.inputs.add(name=INPUT, datatype=DATATYPE, shape=self.shape)
        message.raw_input_contents.append(self.values())
        return message.SerializeToString()


def _linear(
    name: str, title: str, callers: int, connections: int, bare: tuple[int, ...]
) -> Scenario:
    return Scenario(name, title, (1, 16), callers, connections, "linear", 64, bare)


def _mlp(name: str, title: str, callers: int, connections: int, bare: tuple[int, ...]) -> Scenario:
    return Scenario(name, title, (1, 256), callers, connections, "mlp", 32, bare)


def _cnn(name: str, title: str, callers: int, connections: int, bare: tuple[int, ...]) -> Scenario:
    return Scenario(name, title, (1, 3, 224, 224), callers, connections, "cnn", 8, bare)


def _bulk(name: str, rows: int) -> Scenario:
    requests = math.ceil(BULK_ROWS / rows)
    return Scenario(
        name,
        f"{requests * rows:,} rows of the MLP, {rows:,} in each request, 8 callers",
        (rows, 256),
        callers=8,
        connections=4,
        model="mlp",
        max_batch=32,
        bare_batches=(32,),
        requests=requests,
    )


SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        _linear("linear-64", "linear 16→16, 64 callers", 64, 4, (1, 64)),
        _linear("linear-1", "linear 16→16, one caller", 1, 1, (1,)),
        _mlp("mlp-32", "MLP 256→1024→1024→10, 32 callers", 32, 4, (1, 32)),
        _mlp("mlp-8", "the MLP, 8 callers", 8, 4, (1, 8)),
        _mlp("mlp-1", "the MLP, one caller", 1, 1, (1,)),
        _cnn("cnn-8", "ResNet-18-like CNN on 602 KB images, 8 callers", 8, 4, (1, 4, 8)),
        _cnn("cnn-1", "the CNN, one caller", 1, 1, (1,)),
        Scenario(
            "identity-1",
            "identity of 16 MiB, one caller",
            (1, 4 << 20),
            callers=1,
            connections=1,
            model="identity",
            bare_batches=(1,),
        ),
        _bulk("bulk", 32),
        _bulk("bulk-1024", 1024),
    )
}
