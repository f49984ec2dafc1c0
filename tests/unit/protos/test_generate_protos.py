"""The generator of descriptor set, message modules and stubs."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def generator() -> ModuleType:
    """The script as a module of its own, so that a test may point it at another folder."""
    path = REPOSITORY / "scripts" / "generate_protos.py"
    spec = importlib.util.spec_from_file_location("generate_protos", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the proto package that the generator works on."""
    root = tmp_path / "protos"
    copy = root / "inferd" / "protos"
    shutil.copytree(
        REPOSITORY / "protos" / "inferd" / "protos",
        copy,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    monkeypatch.setattr(generator, "ROOT", root)
    return copy


def test_committed_files_are_fresh(generator: ModuleType) -> None:
    """What is committed is what the sources generate now."""
    assert generator.main(["--check"]) == 0


def test_check_names_what_is_stale_and_writes_nothing(
    generator: ModuleType, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check names what a changed source or a hand edit made stale, only that, and leaves it."""
    source = package / "oip.proto"
    source.write_text(source.read_text().replace("bool live = 1;", "bool live = 9;"))
    with (package / "oip_pb2.py").open("a") as module:
        module.write("EDITED = True\n")
    before = {path: path.read_bytes() for path in package.iterdir() if path.is_file()}

    assert generator.main(["--check"]) == 1

    named = capsys.readouterr().err.splitlines()
    assert "stale: protos/inferd/protos/descriptors.binpb" in named
    assert "stale: protos/inferd/protos/oip_pb2.py" in named
    assert not any("model_config_pb2" in line for line in named)
    assert {path: path.read_bytes() for path in package.iterdir() if path.is_file()} == before


def test_generating_mends_every_stale_missing_and_leftover_file(
    generator: ModuleType, package: Path
) -> None:
    """Damaged, deleted and orphaned files come back to exactly the committed state."""
    committed = {path.name: path.read_bytes() for path in package.iterdir() if path.is_file()}
    (package / "oip_pb2.pyi").write_text("")
    (package / "model_config_pb2.py").unlink()
    (package / "descriptors.binpb").write_bytes(b"")
    (package / "gone_pb2.py").write_text("")
    assert generator.main(["--check"]) == 1

    assert generator.main([]) == 0

    mended = {path.name: path.read_bytes() for path in package.iterdir() if path.is_file()}
    assert mended == committed
    assert generator.main(["--check"]) == 0


def test_output_is_the_same_on_every_run(generator: ModuleType, tmp_path: Path) -> None:
    """Two runs give the same bytes, and none of them holds a path of this machine."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (generator.generate(folder) for folder in folders)
    assert first == second
    for content in first.values():
        assert str(REPOSITORY).encode() not in content
        assert str(tmp_path).encode() not in content


def test_a_source_that_protoc_refuses_is_an_error(
    generator: ModuleType, package: Path, tmp_path: Path
) -> None:
    """A broken source ends in an error and no file is written."""
    (package / "oip.proto").write_text('syntax = "proto3"; message {')
    with pytest.raises(RuntimeError, match="protoc refused a file"):
        generator.generate(tmp_path)


def test_another_compiler_version_is_refused(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another grpcio-tools would spell the output differently, so it is named and refused."""
    monkeypatch.setattr(generator, "version", lambda _: "9.9.9")
    assert generator.main(["--check"]) == 1
    assert "grpcio-tools 9.9.9 is installed" in capsys.readouterr().err
