"""What is recognised, which versions are served, and what happens to models that fail."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inferd.client import ModelNotReady, connect
from support.repository import write_code, write_scale
from support.server import Server

ROW = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with three versions of `scale`, and models that cannot be served."""
    root = tmp_path / "models"
    for version in (1, 2, 10):
        write_scale(root / "scale", version, float(version))
    (root / "torn" / "1").mkdir(parents=True)
    (root / "torn" / "1" / "model.pt2").write_bytes(b"PK\x03\x04 but no archive")
    write_code(
        root / "untrusted",
        """
        class Untrusted(Model):
            def predict(self, x):
                return x
        """,
    )
    write_code(
        root / "raising",
        """
        class Raising(Model):
            def load(self, device):
                raise RuntimeError("weights are missing")
            def predict(self, x):
                return x
        """,
    )
    return root


def test_models_that_fail_are_listed_and_the_others_serve(repository: Path, tmp_path: Path) -> None:
    """Each failed model has its reason in the index and on the terminal; the rest answers."""
    bare = repository / "bare.pt2"
    shutil.copy(repository / "scale" / "2" / "model.pt2", bare)
    evil = repository / "evil" / "1" / "model.pt2"
    evil.parent.mkdir(parents=True)
    marker = tmp_path / "executed"
    with zipfile.ZipFile(bare) as good, zipfile.ZipFile(evil, "w") as tampered:
        for name in good.namelist():
            code = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
            tampered.writestr(name, code if "sample_inputs" in name else good.read(name))
    with Server(tmp_path, [repository], "--trust", "raising") as server:
        with connect(server.address) as client:
            np.testing.assert_array_equal(client.model("bare")(ROW), 2 * ROW)
            np.testing.assert_array_equal(client.model("scale")(ROW), 10 * ROW)
            states = {each.name: (each.state, each.reason) for each in client.models()}
            with pytest.raises(ModelNotReady):
                client.model("untrusted")(ROW)
        assert {name for name, (state, _) in states.items() if state == "READY"} == {
            "bare",
            "scale",
        }
        assert not marker.exists()
        for name, word in (
            ("torn", "zip"),
            ("untrusted", "trust"),
            ("raising", "weights are missing"),
            ("evil", "refused"),
        ):
            state, reason = states[name]
            assert state == "UNAVAILABLE"
            assert word in reason, (name, reason)
            assert str(tmp_path) not in reason
            assert name in server.terminal


@pytest.mark.parametrize(
    ("setting", "served", "default"),
    [("", {"10"}, 10), ('"all"', {"1", "2", "10"}, 10), ("[1, 2]", {"1", "2"}, 2)],
    ids=["latest", "all", "named"],
)
def test_versions_are_served_as_set(
    repository: Path, tmp_path: Path, setting: str, served: set[str], default: int
) -> None:
    """The latest version by default, compared as numbers; all, or those named, by setting."""
    if setting:
        (repository / "scale" / "model.toml").write_text(f"versions = {setting}\n")
    with (
        Server(tmp_path, [repository / "scale"]) as server,
        connect(server.address) as client,
    ):
        ready = {each.version for each in client.models() if each.state == "READY"}
        assert {str(each) for each in ready} == served
        np.testing.assert_array_equal(client.model("scale")(ROW), default * ROW)
        for version in served:
            answer = client.model("scale", version=int(version))(ROW)
            np.testing.assert_array_equal(answer, int(version) * ROW)
