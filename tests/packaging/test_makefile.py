"""`make` on a machine that lacks something says what to do, and makes nothing by halves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
OLD = """#!/bin/sh
case "$*" in *version_info*) exit 1 ;; --version) echo "Python 3.9.2" ;; esac
"""
BARE = """#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; *print*) echo python3.11-venv ;; esac
"""


def test_an_old_python_is_named(tmp_path: Path) -> None:
    """The message tells the version found, the one needed and how to name another."""
    told = _make(tmp_path, OLD)
    assert "inferd needs Python 3.11 or later" in told
    assert "Python 3.9.2" in told
    assert "make PYTHON=" in told


def test_a_missing_venv_module_names_the_package(tmp_path: Path) -> None:
    """On Debian and Ubuntu venv is a package of its own: its exact name is told."""
    assert "sudo apt-get install -y python3.11-venv" in _make(tmp_path, BARE)


def _make(folder: Path, python: str) -> str:
    """What `make models` says on stderr with this interpreter; it must fail and leave no venv."""
    interpreter = folder / "python"
    interpreter.write_text(python)
    interpreter.chmod(0o755)
    # A make that runs these tests hands its own flags down in MAKE*: not to this one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    told = subprocess.run(
        ["make", f"PYTHON={interpreter}", f"VENV={folder / 'venv'}", "models"],
        cwd=HOUSE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode != 0
    assert not (folder / "venv").exists()
    return told.stderr
