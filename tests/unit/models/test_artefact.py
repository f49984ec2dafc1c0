"""A trained module becomes a version folder that answers as the module did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from artefact import (
    MAX_BATCH,
    OUTPUT,
    SAMPLE_ROWS,
    Array,
    Outputs,
    TrainedModel,
    answer,
    export,
    write_version,
)

ROWS = 70  # more than the largest batch


class Ranks(torch.nn.Module):
    """Two named outputs, as digits has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores and the best of them."""
        scores = self.layer(features)
        return {"scores": scores, "best": scores.argmax(dim=-1)}


class Doubled(torch.nn.Module):
    """One output without a name, as breast-cancer has."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Twice the features."""
        return features * 2.0


class Drifting(torch.nn.Module):
    """Answers otherwise while it is exported."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The features; one more outside of an export."""
        return features + (0.0 if torch.compiler.is_exporting() else 1.0)


@pytest.fixture
def model() -> TrainedModel:
    """An untrained model that scores one half on its held-out rows."""
    torch.manual_seed(0)
    return TrainedModel(
        module=Ranks(),
        dataset="random numbers",
        seed=0,
        rows_trained=0,
        training_seconds=0.0,
        holdout={"features": _features()},
        expected=np.arange(ROWS, dtype=np.int64) % 3,
        metric="accuracy",
        score=_constant(0.5),
        labels=("low", "middle", "high"),
        notes={"synthetic": True},
    )


def test_the_saved_program_answers_as_the_module_at_every_batch_size(
    model: TrainedModel, tmp_path: Path
) -> None:
    """Loaded back, one row, three rows and the largest batch give what the module gives."""
    write_version(model, tmp_path / "1")
    saved = torch.export.load(tmp_path / "1" / "model.pt2").module()
    for rows in (1, 3, MAX_BATCH):
        features = torch.from_numpy(_features()[:rows])
        ours, theirs = model.module(features), saved(features)
        assert list(theirs) == ["scores", "best"]
        torch.testing.assert_close(theirs["scores"], ours["scores"])
        torch.testing.assert_close(theirs["best"], ours["best"])


def test_the_batch_dimension_is_dynamic_up_to_the_largest_batch(model: TrainedModel) -> None:
    """What a server reads from the program: one free size, from 1 to the largest batch."""
    program = export(model.module, model.holdout)
    (bounds,) = program.range_constraints.values()
    assert (bounds.lower, bounds.upper) == (1, MAX_BATCH)
    assert program.graph_signature.user_inputs == ("features",)


def test_facts_are_written_beside_the_artefact(model: TrainedModel, tmp_path: Path) -> None:
    """Labels, a sample, the held-out rows and the score are there, and readable without pickle."""
    folder = tmp_path / "1"
    assert write_version(model, folder) == 0.5
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["accuracy"], metrics["rows_held_out"], metrics["seed"]) == (0.5, ROWS, 0)
    assert metrics["synthetic"] is True
    assert (folder / "labels.txt").read_text().splitlines() == ["low", "middle", "high"]
    sample = json.loads((folder / "sample.json").read_text())
    np.testing.assert_array_equal(
        np.array(sample["features"], np.float32), _features()[:SAMPLE_ROWS]
    )
    with np.load(folder / "holdout.npz", allow_pickle=False) as holdout:
        np.testing.assert_array_equal(holdout["features"], _features())
        np.testing.assert_array_equal(holdout["expected"], model.expected)
    assert [path.name for path in folder.glob("*.pt2")] == ["model.pt2"]


def test_the_score_is_measured_on_every_held_out_row(model: TrainedModel, tmp_path: Path) -> None:
    """More rows than one batch holds are scored, in their order."""
    seen: list[Outputs] = []

    def score(outputs: Outputs, expected: Array) -> float:
        seen.append(outputs)
        return 1.0

    write_version(replace(model, score=score), tmp_path / "1")
    expected = model.module(torch.from_numpy(_features()))["best"]
    torch.testing.assert_close(seen[0]["best"], expected)


def test_a_single_tensor_is_called_output() -> None:
    """A model that returns no dictionary answers under the name that inferd serves."""
    outputs = answer(Doubled(), {"features": _features()})
    assert list(outputs) == [OUTPUT]
    np.testing.assert_array_equal(outputs[OUTPUT].numpy(), _features() * 2)


def test_a_build_that_fails_leaves_nothing(model: TrainedModel, tmp_path: Path) -> None:
    """No half-written version can be taken for a model that is present."""

    def score(outputs: Outputs, expected: Array) -> float:
        raise ArithmeticError("no score")

    with pytest.raises(ArithmeticError):
        write_version(replace(model, score=score), tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_present_is_replaced_whole(model: TrainedModel, tmp_path: Path) -> None:
    """Nothing of the former version stays behind."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "old.txt").touch()
    write_version(model, tmp_path / "1")
    assert not (tmp_path / "1" / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_program_that_answers_differently_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    """Nothing is written of a program that does not compute what was trained."""
    with pytest.raises(RuntimeError, match="output 'output' of the exported program differs"):
        write_version(replace(model, module=Drifting()), tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def _features() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)


def _constant(value: float) -> Callable[[Outputs, Array], float]:
    return lambda outputs, expected: value
