"""The verbs against a running server, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from support.server import MODELS, Server


def inferd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [str(Path(sys.executable).with_name("inferd")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_predict_shows_the_sample_s_classes(examples: Server) -> None:
    """The sample beside a model can be sent as it is, and the answer says the classes."""
    sample = MODELS / "digits" / "1" / "sample.json"
    done = inferd(
        "predict", "digits", "--address", examples.address, "--input", f"@{sample}", "--json"
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]
    rows = np.array(outputs["probabilities"]["data"])
    assert rows.shape == (4, 10)
    assert outputs["label"]["data"] == rows.argmax(1).tolist()


def test_predict_names_the_nearest_model(examples: Server) -> None:
    """A mistyped name costs one line and exit code 1, without a traceback."""
    done = inferd("predict", "digts", "--address", examples.address, "--random")
    assert done.returncode == 1
    assert "did you mean 'digits'" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_shows_a_running_server(examples: Server) -> None:
    """Every model is there with its state and its inputs."""
    done = inferd("inspect", examples.address)
    assert done.returncode == 0, done.stderr
    for word in ("digits version 1  READY", "breast-cancer", "recommend", "[batch, 1, 8, 8]"):
        assert word in done.stdout
