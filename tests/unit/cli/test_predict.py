"""`inferd predict` against a real gRPC server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cyclopts import App

from inferd.server.cli.predict import predict
from inferd.wire.errors import ModelNotReady, QueueFull
from support.oip_server import OipServer


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A running server."""
    with OipServer() as running:
        yield running


def run(server: OipServer, *arguments: str) -> int:
    """The exit code of `inferd predict` with these arguments."""
    app = App(result_action="return_value", print_error=True)
    app.command(predict)
    code: int = app(["predict", *arguments, "--address", server.address])
    return code


def test_an_answer_is_shown(server: OipServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Model, version, time, and each output with datatype, shape and values."""
    assert run(server, "pair", "--input", "left=[[1,3,2]]", "--input", "right=[[7]]") == 0
    out = capsys.readouterr().out
    assert out.startswith("pair version 1, ")
    assert " ms " in out
    assert "first  FP32 [1, 3]\n  row 0  1: 3  2: 2  0: 1\n" in out
    assert "second  INT64 [1, 1]\n  [[7]]\n" in out


def test_json_is_one_document(server: OipServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json everything is there, BYTES as text, and what JSON lacks as null."""
    inputs = ("-i", "left=[[NaN,1,1]]", "-i", "right=[[7]]", "-i", 'note=[["é"]]')
    assert run(server, "pair", *inputs, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["model"], document["version"]) == ("pair", "1")
    assert document["outputs"]["first"]["data"] == [[None, 1, 1]]
    assert document["outputs"]["second"] == {"datatype": "INT64", "shape": [1, 1], "data": [[7]]}
    assert document["outputs"]["third"]["data"] == [["é"]]
    assert document["milliseconds"]["total"] > 0


def test_a_timeout_must_leave_time(server: OipServer, capsys: pytest.CaptureFixture[str]) -> None:
    """None at all is a mistake of the command line, not a server that does not answer."""
    assert run(server, "pair", "--random", "--timeout", "0") == 2
    assert capsys.readouterr().err == (
        "inferd predict: --timeout 0: expected more than 0 seconds\n"
    )


@pytest.mark.parametrize(("arguments", "rows"), [(["--random"], 1), (["--random", "3"], 3)])
def test_random_needs_no_values(
    server: OipServer, capsys: pytest.CaptureFixture[str], arguments: list[str], rows: int
) -> None:
    """--random takes its inputs from the signature, for one row or as many as are asked for."""
    assert run(server, "pair", *arguments, "--version", "4", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == "4"
    assert document["outputs"]["first"]["shape"] == [rows, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nobody", "--random"], 1, "Request for unknown model: 'nobody' is not found"),
        (["pair", "--input", "lfet=1"], 1, "no input 'lfet'; did you mean 'left'?"),
        (["identity-fp32", "--input", "[1, 2]"], 1, "add a batch dimension"),
        (["pair", "--input", "[[1, 2]]"], 2, "takes left, right, note"),
        (["pair"], 2, "no input was given"),
        (["pair", "--input", "[1", "--json"], 2, "[1 is not JSON"),
        (["pair", "--random", "--input", "left=1"], 2, "both --input and --random"),
        (["pair", "--random", "0"], 2, "expected 1 row or more"),
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
    assert err.startswith("inferd predict: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("fault", [QueueFull("no room\x1b[2J"), ModelNotReady("loading\nstill")])
def test_server_errors_cannot_drive_the_terminal(
    server: OipServer, capsys: pytest.CaptureFixture[str], fault: Exception
) -> None:
    """A message of the server is shown on one line with its control characters escaped."""
    server.faults.extend([fault] * 3)  # type: ignore[list-item] # both are errors of the server
    assert run(server, "echo", "--random") == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody at the address: exit code 1 and what to check."""
    with OipServer() as gone:
        pass
    assert run(gone, "echo", "--random") == 1
    assert "is a server running there?" in capsys.readouterr().err


def test_a_model_that_answers_many_times_is_shown_as_it_answers(
    server: OipServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers in lines, with --json a document each; parameters are JSON or text."""
    assert run(server, "counts", "--input", "[7]", "--parameter", "times=2") == 0
    assert capsys.readouterr().out == "y  FP32 [1]\n  [7.]\n" * 2
    assert run(server, "counts", "-i", "[7]", "-p", "times=2", "-p", "a=b c", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"y": {"datatype": "FP32", "shape": [1], "data": [7]}}] * 2
    assert server.requests[-1].parameters["a"].string_param == "b c"
    assert run(server, "counts", "-i", "[7]", "-p", "times") == 2
    assert "expected NAME=VALUE" in capsys.readouterr().err


def test_pieces_of_text_make_one(server: OipServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With its lines, and without what would drive the terminal."""
    assert run(server, "writes", "--input", '["a\\n\\u001bb"]', "--parameter", "times=3") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line[0] for line in out.splitlines()] == ["a", "\\", "\\", "\\"]
    assert out.endswith("\n")
