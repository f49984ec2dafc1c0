"""What is asked of every contender: the shape of a request and how many callers send it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inferd.protos.oip_pb2 import ModelInferRequest

MODEL, INPUT, OUTPUT, DATATYPE = "echo", "input", "output", "FP32"
"""Every contender serves the identity under these names."""

_SEED = 20_240_501


@dataclass(frozen=True, slots=True)
class Scenario:
    """One FP32 tensor of `shape` to the identity, from `callers` that each wait for the answer.

    The callers are spread evenly over `connections`.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    callers: int
    connections: int

    def values(self) -> bytes:
        """The tensor's raw bytes: random, and the same in every run."""
        numbers = np.random.default_rng(_SEED).standard_normal(math.prod(self.shape))
        return numbers.astype("<f4").tobytes()

    def request(self) -> bytes:
        """The serialised ModelInferRequest."""
        message = ModelInferRequest(model_name=MODEL)
        message.inputs.add(name=INPUT, datatype=DATATYPE, shape=self.shape)
        message.raw_input_contents.append(self.values())
        return message.SerializeToString()


SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        Scenario("small-64", "16 floats, 64 callers", (1, 16), callers=64, connections=4),
        Scenario("small-1", "16 floats, one caller", (1, 16), callers=1, connections=1),
        Scenario("image-1", "602 KB image, one caller", (1, 3, 224, 224), callers=1, connections=1),
    )
}
