"""`inferd stubs`: files for other languages, and modules of a server's models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from inferd.protos.pool import SERIALIZED_FILES
from inferd.server.cli.stubs import stubs
from inferd.stubs.sample import LANGUAGES
from support.oip_server import OipServer


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A running server."""
    with OipServer() as running:
        yield running


def run(*arguments: str) -> int:
    """The exit code of `inferd stubs` with these arguments."""
    app = App(result_action="return_value", print_error=True)
    app.command(stubs)
    code: int = app(["stubs", *arguments])
    return code


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sample_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    """Sources, how to build them, and the .proto files where their imports look for them."""
    assert run("--lang", language, "--output", str(tmp_path / "client")) == 0
    out = capsys.readouterr().out
    assert f"how to build and run it: {tmp_path}/client/README.md\n" in out
    assert "127.0.0.1:8001 digits" in (tmp_path / "client" / "README.md").read_text()
    for name in SERIALIZED_FILES:
        assert (tmp_path / "client" / "protos" / name).is_file()
        assert f"wrote {tmp_path}/client/protos/{name}\n" in out


def test_every_model_that_is_ready_gets_a_module(server: OipServer, tmp_path: Path) -> None:
    """Without a name, and no other one: `broken` is not ready."""
    assert run("--lang", "python", "--output", str(tmp_path), "--address", server.address) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["echo.py"]


def test_a_module_is_written_for_the_named_model(
    server: OipServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a module of Python with the class of the model in it."""
    place = ("--output", str(tmp_path), "--address", server.address)
    assert run("--lang", "python", "identity-fp32", *place) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/identity_fp32.py\n"
    assert "class IdentityFp32:" in (tmp_path / "identity_fp32.py").read_text()


def test_what_somebody_changed_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that differs is named and nothing is written, unless --force says so."""
    place = ("--lang", "node", "--output", str(tmp_path))
    (tmp_path / "sample.js").write_text("mine\n")
    assert run(*place) == 2
    assert f"{tmp_path}/sample.js is there already and differs" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["sample.js"]
    assert run(*place, "--force") == 0
    assert "ModelInfer" in (tmp_path / "sample.js").read_text()
    before = (tmp_path / "sample.js").stat()
    assert run(*place) == 0
    assert (tmp_path / "sample.js").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--lang", "cpp", "digits"),
            2,
            "'digits': the sample for cpp takes the model when it runs",
        ),
        (("--lang", "python", "nobody"), 1, "unknown model: 'nobody'"),
        (("--lang", "python", "echo", "--timeout", "0"), 2, "--timeout 0: expected more than 0"),
        (("--lang", "python", "echo", "--output", "/proc/here"), 1, "No such file or directory"),
    ],
)
def test_mistakes_are_told(
    server: OipServer,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """On stderr, with the exit codes of the other verbs."""
    assert run(*arguments, "--address", server.address) == code
    assert message in capsys.readouterr().err
