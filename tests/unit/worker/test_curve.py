"""Up to which size batches are worth forming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader.loaded import LoadedModel, Parameters
from inferd.worker.model import Value
from inferd.worker.warming.curve import largest_worthwhile, preferred_batch_size


class Stopwatch:
    """A clock that the model moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.mark.parametrize(
    ("per_row", "chosen"),
    [
        ({1: 10.0, 2: 6.0, 4: 4.0, 8: 3.0}, 8),  # the more the better
        ({1: 35.0, 4: 29.0, 8: 28.4, 16: 33.6, 32: 36.6}, 8),  # a convolutional network on a CPU
        ({1: 1.0, 2: 1.05, 4: 1.3}, 2),  # within what measuring can tell
        ({1: 5.0}, 1),
    ],
)
def test_the_largest_batch_that_does_not_cost_throughput(
    per_row: dict[int, float], chosen: int
) -> None:
    """Larger ones are kept unless they are clearly slower per row."""
    assert largest_worthwhile({rows: rows * each for rows, each in per_row.items()}) == chosen


def model(clock: Stopwatch, seconds: dict[int, Iterator[float]]) -> LoadedModel:
    """A model whose batches last what `seconds` says, by their size."""

    def execute(inputs: Sequence[Value | None], _: Parameters) -> list[Value]:
        assert isinstance(inputs[0], torch.Tensor)
        clock.now += next(seconds[len(inputs[0])])
        return [inputs[0]]

    x = TensorSpec("x", "FP32", (Axis("batch", 1, 4), 2))
    return LoadedModel(
        name="m",
        platform="pytorch_export",
        signature=Signature((x,), (x,), 4),
        takes_parameters=False,
        execute=execute,
    )


def test_the_quickest_run_of_each_size_counts() -> None:
    """One slow run of a busy machine does not decide; slow models are run twice per size."""
    clock = Stopwatch()
    quick = {1: iter([3e-3, 1e-3, 1e-3]), 2: iter([1e-3, 9e-3, 1e-3]), 4: iter([9e-3, 9e-3, 1e-3])}
    assert preferred_batch_size(model(clock, quick), torch.device("cpu"), clock) == 4
    slow = {1: iter([0.2, 0.3]), 2: iter([9.0, 0.2]), 4: iter([1.0, 1.0])}
    assert preferred_batch_size(model(clock, slow), torch.device("cpu"), clock) == 2


def test_a_model_that_cannot_be_timed_is_served_all_the_same() -> None:
    """Measuring is optional: what goes wrong in it limits nothing."""
    broken = {1: iter([0.1, 0.1, 0.1])}
    clock = Stopwatch()
    found = model(clock, broken)

    def execute(inputs: Sequence[Value | None], parameters: Parameters) -> Sequence[Value]:
        assert isinstance(inputs[0], torch.Tensor)
        if len(inputs[0]) == 2:
            raise ValueError("out of luck")
        return found.execute(inputs, parameters)

    assert preferred_batch_size(replace(found, execute=execute), torch.device("cpu"), clock) == 0
