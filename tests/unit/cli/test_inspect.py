"""`inferd inspect` of servers, files and folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inferd.server.cli.inspect import inspect
from support.oip_server import OipServer

EXPORT = """
import sys, torch
torch.set_num_threads(1)
class Halves(torch.nn.Module):
    def forward(self, number):
        return {"half": number / 2}
rows = torch.export.Dim("rows", min=1, max=4)
program = torch.export.export(
    Halves(), (torch.ones(2, 3),), dynamic_shapes={"number": {0: rows}}, strict=False
)
torch.export.save(program, sys.argv[1])
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of torch.export, made by a process of its own."""
    path = tmp_path_factory.mktemp("exported") / "halves.pt2"
    subprocess.run([sys.executable, "-c", EXPORT, str(path)], check=True, timeout=120)
    return path


def test_a_server_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    """Server, models with states and reasons, signatures and statistics."""
    with OipServer() as server:
        assert inspect(server.address) == 0
        out = capsys.readouterr().out
        assert f"oip-server 1.2.3 at {server.address}, ready\n" in out
        assert "echo version 1  READY\n  input   input   ANY  any shape\n" in out
        assert "requests answered: 3, failed: 0; rows: 6, in 2 runs; 2.00 ms per request" in out
        assert "broken version 2  UNAVAILABLE: bad file\n" in out
        assert inspect(f"{server.address}/echo", json=True) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        (model,) = document["models"]
        assert (model["name"], model["state"], model["max_batch_size"]) == ("echo", "READY", 64)
        assert model["inputs"][0]["shape"] is None
        assert model["statistics"]["inference_count"] == 6


def test_a_server_without_an_index_is_asked_for_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """RepositoryIndex and ModelStatistics are extensions: a named model is found without them."""
    with OipServer(without={"RepositoryIndex", "ModelStatistics"}) as server:
        assert inspect(f"{server.address}/pair") == 0
        assert "pair  READY\n  input   left" in capsys.readouterr().out
        assert inspect(f"{server.address}/nobody") == 1
        assert "has no model 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("absent.pt2", 2, "neither a file nor a folder here, nor HOST:PORT"),
        ("localhost:99999", 2, "is no address"),
        ("empty", 1, "no model in empty"),
        ("text.txt", 1, "text.txt is not a model"),
    ],
)
def test_mistakes_are_one_line(  # noqa: PLR0917 - pytest passes them by name
    target: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2 for a target that is nothing, 1 for one that holds no model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").touch()
    assert inspect(target) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_file_is_loaded_for_its_signature(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .pt2 file shows what its program takes and gives, with the bounds of its batch."""
    assert inspect(str(exported)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"halves  ({exported})\n  version 1: exported program, halves.pt2\n")
    assert "input   number  FP32  [batch 1..4, 3]" in out
    assert "output  half    FP32  [batch 1..4, 3]" in out
    assert "batches of up to 4 rows" in out


def test_a_folder_shows_what_cannot_be_served_and_why(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused, untrusted and broken versions have a reason; the others their signature; exit code 1."""
    good = tmp_path / "good" / "2"
    good.mkdir(parents=True)
    (good / "model.pt2").write_bytes(exported.read_bytes())
    damaged = tmp_path / "good" / "3"
    damaged.mkdir()
    (damaged / "model.pt2").write_bytes(b"PK nonsense")
    code = tmp_path / "code" / "1"
    code.mkdir(parents=True)
    (code / "model.py").write_text("raise SystemExit('this must not run')")
    assert inspect(str(tmp_path), json=True) == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    models = {model["name"]: model["versions"] for model in document["models"]}
    (untrusted,) = models["code"]
    assert "trust" in untrusted["problem"]
    sound, broken = models["good"]
    assert (sound["version"], sound["problem"], sound["max_batch_size"]) == (2, None, 4)
    assert sound["inputs"] == [
        {"name": "number", "datatype": "FP32", "shape": [-1, 3], "optional": False}
    ]
    assert "refused" in broken["problem"]
    assert "inputs" not in broken


def test_with_trust_own_code_is_loaded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--trust runs model.py; what it raises is the version's problem."""
    version = tmp_path / "code" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text("raise ValueError('this did run')")
    assert inspect(str(tmp_path), trust=True) == 1
    assert "cannot be served: " in capfd.readouterr().out
