"""The example models compute what their descriptions promise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import build
from artefact import answer

AT_LEAST = {
    "digits": ("accuracy", 0.97),
    "breast-cancer": ("accuracy", 0.95),
    "recommend": ("auc", 0.8),
}
VERSIONS = [build.REPOSITORY / name / build.VERSION for name in AT_LEAST]
PROGRAM = "model.pt2"


def test_recommend_answers_ids_that_it_was_not_trained_on() -> None:
    """Negative and huge ids get the unknown row's embedding, not an error that ends a worker."""
    script = build.training_script(build.REPOSITORY / "recommend")
    model = script.Recommend().eval()
    model.users.settle_unknown()
    known = model.users.embedding.weight[: script.USERS]
    strange = torch.tensor([-1, -(2**63), script.USERS, 2**63 - 1])
    outputs = model(strange, strange)
    torch.testing.assert_close(
        outputs["user_embedding"], known.mean(dim=0).expand(4, script.EMBEDDING)
    )
    assert bool(torch.isfinite(outputs["score"]).all())


def test_breast_cancer_standardises_inside() -> None:
    """Raw features come in: shifted and scaled data gives the same answer after the same shift."""
    script = build.training_script(build.REPOSITORY / "breast-cancer")
    torch.manual_seed(0)
    model, rows = script.BreastCancer(30).eval(), torch.randn(8, 30)
    model.standardise_by(rows)
    plain = model(rows)
    moved = rows * 100.0 + 7.0
    model.standardise_by(moved)
    torch.testing.assert_close(model(moved), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.sum(dim=-1), torch.ones(8))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.parent.name)
def test_a_built_model_scores_as_recorded(version: Path) -> None:
    """The score beside the artefact is reached by the artefact, and is good enough to show."""
    if not (version / PROGRAM).exists():
        pytest.skip(f"{version.parent.name} is not built; `make models` builds it")
    metric, least = AT_LEAST[version.parent.name]
    recorded = json.loads((version / "metrics.json").read_text())[metric]
    with np.load(version / "holdout.npz", allow_pickle=False) as holdout:
        inputs = {name: holdout[name] for name in holdout.files if name != "expected"}
        expected = holdout["expected"]
    outputs = answer(torch.export.load(version / PROGRAM).module(), inputs)
    script = build.training_script(version.parent)
    score = script.score(outputs, expected)
    assert score == pytest.approx(recorded, abs=1e-6)
    assert score >= least
