"""What is asked for, what is locked and what is installed by hand agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = Path(__file__).resolve().parents[2]
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>(?:[0-9]+!)?[0-9][0-9a-z.]*)")


def test_the_lock_holds_names_and_public_versions_only() -> None:
    """No address, no path, no local build (`+cpu`): it must hold on any machine and mirror."""
    assert [line for line in _lock_lines() if not PIN.fullmatch(line)] == []


def test_everything_asked_for_is_locked_within_its_range() -> None:
    """A range that excludes the locked version, or a package without one, is a broken install."""
    locked = _locked()
    wrong = [
        str(requirement)
        for requirement in _requirements()
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == []


def test_torch_is_the_same_everywhere() -> None:
    """The lock, the Makefile and the image install one version of torch."""
    torch = f"torch=={_locked()['torch']}"
    for file in ("Makefile", "Dockerfile.gpu"):
        named = set(re.findall(r"torch==[0-9.]+", (HOUSE / file).read_text()))
        assert named == {torch}, file


def test_the_client_needs_no_torch() -> None:
    """The base dependencies are the client's: few, and light."""
    project = _project()
    base = {Requirement(text).name for text in project["dependencies"]}
    assert base == {"grpcio", "protobuf", "numpy", "googleapis-common-protos"}


def test_the_readme_and_the_licence_are_the_package_s() -> None:
    """The package index shows the README, and the wheel carries the licence."""
    project = _project()
    assert (project.get("readme"), project["license-files"]) == ("README.md", ["LICENSE"])
    assert (HOUSE / "README.md").is_file()
    assert "Apache License" in (HOUSE / "LICENSE").read_text()


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    return project


def _requirements() -> list[Requirement]:
    project = _project()
    texts = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        texts += extra
    requirements = [Requirement(text) for text in texts]
    return [requirement for requirement in requirements if requirement.name != "inferd"]


def _lock_lines() -> list[str]:
    lines = (HOUSE / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _locked() -> dict[str, str]:
    matches = (PIN.fullmatch(line) for line in _lock_lines())
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match}
