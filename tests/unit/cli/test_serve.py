"""`inferd serve`: mistakes on the command line, and what it shows when it is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.server.cli import serve as verb
from inferd.server.cli.main import main
from inferd.server.supervisor.summary import Addresses, ServedVersion, Summary
from inferd.wire.signature import Axis, Signature, TensorSpec

IMAGE = TensorSpec("image", "FP32", (Axis("batch", 1, 64), 1, 8, 8))
LABEL = TensorSpec("label", "INT64", (Axis("batch", 1, 64),))
ANYTHING = TensorSpec("input", "ANY", None)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No inferd.toml and no INFERD_* but the test's own."""
    monkeypatch.chdir(tmp_path)


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no models: name .pt2 files or folders"),
        (["m", "--grpc", "8001"], "option --grpc is '8001': expected HOST:PORT"),
        (["m", "--grpc", "0.0.0.0:8001"], "which other machines can reach"),
        (["m", "--config", "absent.toml"], "no such file"),
        (["m", "--grace", "-1"], "option --grace is -1.0"),
        (["m", "--gateways", "none"], "option --gateways is 'none': expected auto or a number"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, exit code 2, no traceback."""
    assert _run(*arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("inferd serve: ")
    assert expected in told
    assert len(told.splitlines()) == 1


def test_every_mistake_has_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are told at once."""
    monkeypatch.setenv("INFERD_GRACE", "soon")
    monkeypatch.setenv("INFERD_LOAD_TIMEOUT", "0")
    assert _run("m") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_malformed_variable_of_opentelemetry_is_a_mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before anything starts, with the exit code of other settings."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "abc")
    assert _run("m", "--tracing", "otlp") == 2
    assert capsys.readouterr().err == (
        "inferd serve: variable OTEL_EXPORTER_OTLP_TIMEOUT is 'abc': expected a number of seconds "
        "more than 0\n"
    )


def test_what_is_served_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Models with their signatures, reasons of those that are not served, where, what next."""
    verb._show(
        Summary(
            Addresses("127.0.0.1:4242"),
            (
                ServedVersion("a", 1, "UNAVAILABLE", "bad \x1b[31mweights"),
                ServedVersion("e", 1, "READY", "", ("cpu",), 1, 1, Signature((ANYTHING,), ())),
                ServedVersion(
                    "d", 3, "READY", "", ("cpu", "cuda:0"), 1, 2, Signature((IMAGE,), (LABEL,), 64)
                ),
            ),
            notes=("x was left out",),
        )
    )
    shown = capsys.readouterr().out
    assert "image FP32[-1,1,8,8]" in shown
    assert "label INT64[-1]" in shown
    assert "cpu, cuda:0  1 of 2" in shown
    assert "a version 1 is not served: bad \\x1b[31mweights" in shown
    assert "x was left out" in shown
    assert "gRPC at 127.0.0.1:4242" in shown
    # `e` takes anything: nothing can be made up for it.
    assert "inferd predict d --random --address 127.0.0.1:4242" in shown


def test_what_to_type_next_is_found_by_the_shell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run as .venv/bin/inferd, which is not on the PATH, it says so again."""
    program = tmp_path / "inferd"
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "serve"])
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    verb._show(Summary(Addresses("127.0.0.1:8001"), ()))
    assert f"  {program} inspect 127.0.0.1:8001\n" in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path))
    verb._show(Summary(Addresses("127.0.0.1:8001"), ()))
    assert "  inferd inspect 127.0.0.1:8001\n" in capsys.readouterr().out


def test_with_the_default_address_it_need_not_be_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line to type next is short; without a model to try there is none."""
    ready = ServedVersion("d", 1, "READY", "", ("cpu",), 1, 1, Signature((IMAGE,), ()))
    verb._show(Summary(Addresses("127.0.0.1:8001"), (ready,)))
    assert "  inferd predict d --random\n" in capsys.readouterr().out
    verb._show(Summary(Addresses("127.0.0.1:8001"), ()))
    shown = capsys.readouterr().out
    assert "inferd predict" not in shown
    assert "gRPC at 127.0.0.1:8001. Try:" in shown


def test_several_gateways_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With how many; of one alone there is nothing to say."""
    verb._show(Summary(Addresses("127.0.0.1:8001"), (), gateways=3))
    assert "gRPC at 127.0.0.1:8001, 3 gateways. Try:" in capsys.readouterr().out


def test_all_addresses_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of HTTP and of metrics beside the one for gRPC, where there are any."""
    verb._show(Summary(Addresses("127.0.0.1:8001", "127.0.0.1:8000", "127.0.0.1:8002"), ()))
    assert (
        "gRPC at 127.0.0.1:8001, HTTP at 127.0.0.1:8000, metrics at http://127.0.0.1:8002/metrics. Try:"
        in capsys.readouterr().out
    )
