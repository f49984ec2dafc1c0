"""`inferd bench` against a small server: what it takes, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from inferd.bench.result import from_json
from inferd.server.cli.bench import bench
from inferd.wire.errors import QueueFull
from support.oip_server import OipServer

SHORT = ("--duration", "0.2", "--warm-up", "0.05", "--processes", "1")


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A running server."""
    with OipServer() as running:
        yield running


def run(server: OipServer, *arguments: str) -> int:
    """The exit code of `inferd bench` with these arguments."""
    app = App(result_action="return_value", print_error=True)
    app.command(bench)
    code: int = app(["bench", *arguments, "--address", server.address])
    return code


@pytest.mark.parametrize("load", [("--concurrency", "2"), ("--rate", "200")])
@pytest.mark.parametrize("mode", [(), ("--stream",)])
def test_a_load_is_measured(
    server: OipServer, tmp_path: Path, load: tuple[str, ...], mode: tuple[str, ...]
) -> None:
    """Closed and open, unary and over a stream: requests are answered, and none is lost."""
    file = tmp_path / "result.json"
    assert run(server, "pair", *load, *mode, *SHORT, "--rows", "2", "--output", str(file)) == 0
    result = from_json(file.read_bytes())
    (step,) = result.steps
    assert step.answered > 0
    assert step.failed == 0
    assert step.rows_per_second == step.throughput * 2
    assert result.settings.mode == ("stream" if mode else "unary")
    assert result.target.server == "oip-server 1.2.3"
    assert server.calls["ModelStreamInfer"] == (1 if mode else 0)


def test_the_table_is_on_stdout_and_progress_on_stderr(
    server: OipServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per step where nobody watches a bar."""
    assert run(server, "pair", "--concurrency", "1,2", *SHORT) == 0
    out, err = capsys.readouterr()
    assert "requests/s" in out
    assert [line.split(":")[0] for line in err.splitlines()] == ["step 1 of 2", "step 2 of 2"]


def test_the_page_is_written(server: OipServer, tmp_path: Path) -> None:
    """--report makes a page of its own."""
    page = tmp_path / "report.html"
    assert run(server, "pair", "--concurrency", "1", *SHORT, "--report", str(page)) == 0
    assert "<svg" in page.read_text()


def test_a_server_without_statistics_is_measured_all_the_same(
    server: OipServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the result says what it lacks."""
    server.without |= {"ModelStatistics", "ModelConfig", "RepositoryIndex"}
    assert run(server, "pair", "--concurrency", "1", *SHORT) == 0
    assert "the server's own times were not measured: it lacks that extension" in (
        capsys.readouterr().out
    )


def test_a_run_without_any_answer_fails(
    server: OipServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 with the first error, after the table; later steps are not tried."""
    server.without.add("ModelStreamInfer")
    assert run(server, "pair", "--stream", "--concurrency", "1,2", *SHORT) == 1
    out, err = capsys.readouterr()
    assert "UNIMPLEMENTED" in out
    assert "all requests failed: UNIMPLEMENTED: ModelStreamInfer is not offered" in err
    assert "step 2" not in err


def test_errors_are_counted_by_code(server: OipServer, tmp_path: Path) -> None:
    """Beside the answers."""
    file = tmp_path / "result.json"
    probe = [QueueFull("no room")] * 3
    arguments = ("pair", "--stream", "--concurrency", "1", *SHORT[:2], "--warm-up", "0")
    server.faults.extend(probe)
    assert run(server, *arguments, "--output", str(file)) == 0
    (step,) = json.loads(file.read_bytes())["steps"]
    errors: list[dict[str, Any]] = step["errors"]
    assert [(each["code"], each["count"]) for each in errors] == [("UNKNOWN", 3)]
    assert "no room" in errors[0]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ecco"], 1, "'ecco' is not found; did you mean 'echo'?"),
        (["ids", "--input", "[[1]]"], 1, "has shape [1, 1]"),
        (["pair", "--concurrency", "many"], 2, "--concurrency many: 'many' is no number"),
        (["pair", "--concurrency", "1", "--rate", "1"], 2, "expected one of them"),
        (["pair", "--timeout", "9", "--duration", "5"], 2, "--timeout 9 is longer"),
        (["pair", "--output", "/nowhere/result.json"], 2, "there is no folder /nowhere"),
        (["pair", "--server-pid", "4194305"], 2, "there is no process 4194305"),
        (["pair", "--shape", "left"], 2, "expected NAME=SIZE"),
    ],
)
def test_errors_are_one_line_on_stderr(
    server: OipServer,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """1 for what the server or the model does not take, 2 for misuse; never a traceback."""
    assert run(server, *arguments) == code
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("inferd bench: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody at the address: exit code 1 and what to check."""
    with OipServer() as gone:
        pass
    assert run(gone, "pair") == 1
    assert "is a server running there?" in capsys.readouterr().err
