"""`pip install .` without extras, in an environment of its own: the client, and no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(180)  # an environment is made and filled over the network


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment in which `pip install .` was run, and nothing else."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "-q",
    ]
    subprocess.run([*pip, "-c", "constraints.txt", "."], cwd=HOUSE, check=True)
    return python


def test_the_client_imports_without_torch(clean_python: Path) -> None:
    """Installing and importing the client brings no torch, and none of the server's libraries."""
    told = _run(
        clean_python,
        "import sys, inferd.client; from importlib.util import find_spec;"
        "print(*[name for name in ('torch', 'msgspec', 'pydantic') if find_spec(name)])",
    )
    assert (told.returncode, told.stdout.split()) == (0, []), told.stderr


def test_a_model_needs_the_torch_extra(clean_python: Path) -> None:
    """The worker's part is installed, but what imports torch says that it is not there."""
    told = _run(clean_python, "import inferd.worker.model")
    assert told.returncode == 1
    assert "No module named 'torch'" in told.stderr


def test_samples_are_installed_with_it(clean_python: Path) -> None:
    """Their sources and the .proto files come from the installed package, not from this house."""
    told = _run(
        clean_python,
        "from inferd.stubs.sample import LANGUAGES, sample_files;"
        "print(*[path for each in LANGUAGES for path in sample_files(each)])",
    )
    for name in (
        "sample.js",
        "main.go",
        "Sample.java",
        "sample.cc",
        "protos/inferd/protos/oip.proto",
    ):
        assert name in told.stdout.split(), told.stderr


def test_the_wheel_holds_what_the_roots_hold(tmp_path: Path) -> None:
    """Descriptors, .proto texts, stubs and markers are shipped, and nothing of the house besides."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=HOUSE,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("inferd-*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    present = {
        str(file.relative_to(HOUSE / root))
        for root in ("protos", "core", "server", "workers", "clients")
        for file in (HOUSE / root / "inferd").rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert shipped == present
    for suffix in (".py", ".pyi", ".proto", ".binpb", "py.typed", ".yml", ".yaml", ".json"):
        assert any(name.endswith(suffix) for name in shipped), suffix


def _run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [python, "-I", "-c", code],
        env=environment,
        cwd=python.parent,
        capture_output=True,
        text=True,
        check=False,
    )
