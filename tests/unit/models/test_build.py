"""`models/build.py` builds what is absent and leaves alone what is present."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build

TINY = """
import numpy as np
import torch
from artefact import TrainedModel


def train():
    return TrainedModel(
        module=torch.nn.ReLU(), dataset="none", seed=0, rows_trained=0, training_seconds=0.0,
        holdout={"input": np.ones((4, 2), np.float32)}, expected=np.ones(4, np.int64),
        metric="accuracy", score=lambda outputs, expected: 0.25,
    )
"""
REFUSES = "def train():\n    raise AssertionError('trained again')\n"


def test_an_absent_model_is_built_and_told_in_one_line(tmp_path: Path) -> None:
    """The line names the model, the seconds and the measured score."""
    folder = _model(tmp_path, TINY)
    line = build.build(folder)
    assert line.startswith("tiny ")
    assert "built in" in line
    assert "accuracy 0.2500 held out" in line
    assert (folder / "1" / "model.pt2").exists()


def test_a_present_model_is_left_alone(tmp_path: Path) -> None:
    """Its training script does not run; its recorded score is told."""
    folder = _present(tmp_path)
    assert "present" in build.build(folder)
    assert "accuracy 0.7500 held out" in build.build(folder)


def test_force_builds_what_is_present(tmp_path: Path) -> None:
    """The word of the caller outweighs the file that is there."""
    with pytest.raises(AssertionError, match="trained again"):
        build.build(_present(tmp_path), force=True)


def test_a_look_at_what_is_present_does_not_import_torch(tmp_path: Path) -> None:
    """`make serve` runs this each time: it must not cost seconds."""
    code = (
        "import sys, pathlib, build; print(build.build(pathlib.Path(sys.argv[1])));"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, _present(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(build.REPOSITORY)},
        check=True,
    )


def test_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error says what arrived and what was expected, and nothing is built."""
    with pytest.raises(SystemExit) as ended:
        build.main(["digit"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "'digit'" in told
    assert "breast-cancer, digits, recommend, textgen" in told


def test_models_without_a_training_script_are_not_built() -> None:
    """Echo is code and is committed; the four others are trained."""
    assert build.trainable(build.REPOSITORY) == ["breast-cancer", "digits", "recommend", "textgen"]


def _model(repository: Path, script: str) -> Path:
    folder = repository / "tiny"
    folder.mkdir()
    (folder / "train.py").write_text(script)
    return folder


def _present(repository: Path) -> Path:
    folder = _model(repository, REFUSES)
    (folder / "1").mkdir()
    (folder / "1" / "model.pt2").touch()
    (folder / "1" / "metrics.json").write_text('{"accuracy": 0.75}')
    return folder
