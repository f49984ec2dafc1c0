"""Serving changes no answer: accuracy through the server is that of the bare model."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from inferd.client import connect
from support.server import MODELS, Server

Array = npt.NDArray[np.generic]


def classes_of(predict: Callable[[Array], dict[str, Array]], rows: Array, step: int) -> Array:
    """The classes a model predicts, given `step` rows at a time."""
    found = []
    for at in range(0, len(rows), step):
        outputs = predict(rows[at : at + step])
        found.append(outputs["label"] if "label" in outputs else outputs["output"].argmax(1))
    return np.concatenate(found)


def bare(name: str) -> Callable[[Array], dict[str, Array]]:
    """The exported program, run without inferd."""
    module = torch.export.load(MODELS / name / "1" / "model.pt2").module()

    def predict(rows: Array) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(rows))
        named = outputs if isinstance(outputs, dict) else {"output": outputs}
        return {key: value.numpy() for key, value in named.items()}

    return predict


@pytest.mark.parametrize("name", ["digits", "breast-cancer"])
@pytest.mark.parametrize("rows_per_call", [1, 17, 1000])
def test_accuracy_is_that_of_the_bare_model(
    examples: Server, name: str, rows_per_call: int
) -> None:
    """On every held-out row the served class is the bare model's, however the rows are sent."""
    folder = MODELS / name / "1"
    held_out = np.load(folder / "holdout.npz")
    measured = json.loads((folder / "metrics.json").read_text())["accuracy"]
    with connect(examples.address) as client:
        model = client.model(name)
        (given,) = [each.name for each in model.metadata().inputs]
        rows = held_out[given]
        served = classes_of(lambda some: dict(model.infer(some).outputs), rows, rows_per_call)
    np.testing.assert_array_equal(served, classes_of(bare(name), rows, 64))
    assert (served == held_out["expected"]).mean() == pytest.approx(measured, abs=1e-6)
