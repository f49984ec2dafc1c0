"""`inferd status`: the verb, and what it says where no server answers."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from inferd.server.cli.main import main
from inferd.server.cli.watching.status import status as look
from support.status import OpsPort, eventful, http_answer, status, version


def test_a_server_that_is_well_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code is 0."""
    with OpsPort(status(version())) as port:
        assert look(ops=port.address) == 0
    told = capsys.readouterr().out
    assert told.startswith("inferd 0.1.0, ready, up 1 min 40 s, pid 42\n")
    assert "digits/1" in told


def test_something_wrong_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A script need not read the tables; a model that was asked for is judged by itself."""
    with OpsPort(eventful()) as port:
        assert look(ops=port.address) == 1
        assert "! broken/1 is UNAVAILABLE" in capsys.readouterr().out
        assert look("away", ops=port.address) == 0
        told = capsys.readouterr().out
        assert "away/1" in told
        assert "broken" not in told
        assert look("breast-cancer", ops=port.address) == 1


def test_a_model_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    with OpsPort(status(version("digits"), version("echo"))) as port:
        assert look("digit", ops=port.address) == 1
    assert capsys.readouterr().err == (
        "inferd status: the server has no model 'digit'; it has: digits, echo\n"
    )


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the fields that the document has, for the model that was asked for."""
    with OpsPort(eventful()) as port:
        assert look("breast-cancer", ops=port.address, json=True) == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    assert document["schema"] == 1
    (model,) = document["models"]
    assert model["restarts"] == {"signal": 2, "exit": 1}
    assert model["accuracy"] is None


def test_a_newer_server_may_tell_more(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that this inferd does not know are no obstacle."""
    document = json.loads(b'{"weather": "fine"}')
    with OpsPort(status(version())) as port:
        look(ops=port.address, json=True)
    document |= json.loads(capsys.readouterr().out)
    with OpsPort(http_answer(json.dumps(document).encode())) as port:
        assert look(ops=port.address) == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "it closed the connection"),
        (b"\0\0\x18\4\0\0\0\0\0\0\4\0@\0\0", "does not speak HTTP/1.1; it may be the gRPC port"),
        (b"220 mail\x1b[2J ready\r\n", "it said '220 mail\\x1b[2J ready"),
        (http_answer(b"Not Found", "404 Not Found"), "/status gave 404 Not Found and 'Not Found'"),
        (http_answer(b"<html>" + b"x" * 99), f"/status gave '<html>{'x' * 54}…', which is no status"),
        (http_answer(b""), "/status gave nothing, which is no status"),
        (http_answer(b"HTTP/1.1 200 OK\r\n\r\n{}"), "which is no status"),
        (http_answer(b'{"schema":1}'), "Object missing required field `window`"),
        (http_answer(b'{"schema":7}'), "tells its status in schema 7, and this inferd reads schema 1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "Input data was truncated"),
    ],
)  # fmt: skip
def test_something_else_is_told_apart(
    answer: bytes | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what arrived, at which address, and what to do."""
    with OpsPort(answer) as port:
        assert look(ops=port.address) == 3
        said = capsys.readouterr()
        assert port.address in said.err
    assert said.out == ""
    assert said.err.startswith("inferd status: ")
    assert said.err.count("\n") == 1
    assert told in said.err


def test_nobody_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With the two things that it may be."""
    with OpsPort(None) as port:
        address = port.address
    assert look(ops=address) == 3
    assert capsys.readouterr().err.startswith(
        f"inferd status: nothing listens at {address}; start a server with inferd serve, or name the"
    )


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is for whoever is on the machine, whatever the environment says about the web."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with OpsPort(status(version())) as port:
        assert look(ops=port.address) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ops", "8002"), "--ops 8002: expected HOST:PORT"),
        (("--ops", "127.0.0.1:0"), "--ops 127.0.0.1:0: expected the port that a server has"),
        (("--timeout", "0"), "--timeout 0: expected more than 0 seconds"),
    ],
)
def test_mistakes_are_told(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["status", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_server_that_is_not_ready_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """While models are loaded there is a status, and an exit code to wait by."""
    found = status(version())
    found = replace(
        found, server=replace(found.server, ready=False, reason="models are being loaded")
    )
    with OpsPort(found) as port:
        assert look(ops=port.address) == 1
    assert "! not ready: models are being loaded\n" in capsys.readouterr().out
