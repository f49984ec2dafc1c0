"""Recognition of models on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.server.supervisor.repository.scan import CODE, EXPORTED, FoundModel, ScanError, scan


def _touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _one(path: Path) -> FoundModel:
    (model,) = scan([path]).models
    return model


def test_a_bare_file_is_version_1(tmp_path: Path) -> None:
    """NAME.pt2 is the model NAME."""
    file = _touch(tmp_path / "digits.pt2")
    model = _one(file)
    assert model.name == "digits"
    assert [(v.version, v.kind, v.path) for v in model.versions] == [(1, EXPORTED, file)]


def test_a_model_folder_has_integer_versions(tmp_path: Path) -> None:
    """Versions are folders named by numbers without leading zeros; the rest is left alone."""
    folder = tmp_path / "digits"
    _touch(folder / "1" / "model.pt2")
    _touch(folder / "10" / "anything.pt2")
    _touch(folder / "2" / "model.py")
    _touch(folder / "02" / "model.pt2")
    _touch(folder / "0" / "model.pt2")
    _touch(folder / "draft" / "model.pt2")
    model = _one(folder)
    assert model.name == "digits"
    assert [(v.version, v.kind) for v in model.versions] == [
        (1, EXPORTED),
        (2, CODE),
        (10, EXPORTED),
    ]
    assert model.versions[1].path == folder / "2"


def test_a_repository_holds_files_and_folders(tmp_path: Path) -> None:
    """Models come in the order of their names; what is hidden or cached is no model."""
    _touch(tmp_path / "b.pt2")
    _touch(tmp_path / "a" / "1" / "model.pt2")
    _touch(tmp_path / ".hidden" / "1" / "model.pt2")
    _touch(tmp_path / "__pycache__" / "1" / "model.pt2")
    _touch(tmp_path / "README.md")
    found = scan([tmp_path])
    assert [model.name for model in found.models] == ["a", "b"]
    assert found.notes == ()


def test_a_folder_without_versions_is_noted(tmp_path: Path) -> None:
    """A model that was not built yet is not passed over in silence."""
    _touch(tmp_path / "a.pt2")
    _touch(tmp_path / "unbuilt" / "train.py")
    (note,) = scan([tmp_path]).notes
    assert "unbuilt has no version folder" in note


def test_declarations_are_read(tmp_path: Path) -> None:
    """model.toml beside the versions counts."""
    _touch(tmp_path / "m" / "1" / "model.pt2")
    _touch(tmp_path / "m" / "model.toml", "instances = 3")
    assert _one(tmp_path / "m").declaration.instances == 3


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"model.toml": "x = 1", "1/model.pt2": ""}, "unknown key x"),
        ({"model.toml": ""}, "no version folder"),
        ({"config.pbtxt": "", "1/model.pt": ""}, "is Triton's"),
    ],
)
def test_a_broken_model_is_found_with_its_problem(
    tmp_path: Path, files: dict[str, str], problem: str
) -> None:
    """It is listed with the reason, and does not keep the others from being found."""
    for name, text in files.items():
        _touch(tmp_path / "bad" / name, text)
    _touch(tmp_path / "good.pt2")
    bad, good = scan([tmp_path]).models
    assert bad.problem is not None
    assert problem in bad.problem
    assert good.problem is None


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["a.pt2", "b.pt2"], "2 artefacts (a.pt2, b.pt2)"),
        (["a.pt2", "model.py"], "both a.pt2 and model.py"),
        (["notes.txt"], "neither a .pt2 file nor a model.py"),
    ],
)
def test_a_version_that_is_not_clear_has_a_problem(
    tmp_path: Path, files: list[str], problem: str
) -> None:
    """One artefact per version, or it is told which there are."""
    for name in files:
        _touch(tmp_path / "m" / "1" / name)
    (version,) = _one(tmp_path / "m").versions
    assert version.problem is not None
    assert problem in version.problem


@pytest.mark.parametrize("name", ["-x", "a b", "a\x1b", "é", "x" * 129, "..a"])
def test_names_that_are_not_safe_are_left_out(tmp_path: Path, name: str) -> None:
    """They would end up in paths, logs and labels."""
    _touch(tmp_path / "good.pt2")
    _touch(tmp_path / name / "1" / "model.pt2")
    found = scan([tmp_path])
    assert [model.name for model in found.models] == ["good"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    """Nobody could tell which one is served; the same one named twice is no matter."""
    first = _touch(tmp_path / "a" / "m.pt2")
    second = _touch(tmp_path / "b" / "m.pt2")
    with pytest.raises(ScanError, match="two models are called 'm'"):
        scan([first, second])
    assert len(scan([first, first]).models) == 1


@pytest.mark.parametrize("what", ["absent", "empty", "text.txt"])
def test_paths_without_a_model_are_refused(tmp_path: Path, what: str) -> None:
    """The message says what was expected."""
    (tmp_path / "empty").mkdir()
    _touch(tmp_path / "text.txt")
    with pytest.raises(ScanError, match="expected"):
        scan([tmp_path / what])
