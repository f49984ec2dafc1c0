"""The file that says that the server is ready."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inferd.server.supervisor.ready_file import ReadyFile


def test_it_is_there_while_the_server_is_ready(tmp_path: Path) -> None:
    """One JSON object for everybody to read; gone afterwards, with nothing beside it."""
    path = tmp_path / "ready.json"
    with ReadyFile(path) as ready:
        assert not path.exists()
        ready.write("127.0.0.1:8001", "127.0.0.1:8000", "127.0.0.1:8002")
        assert json.loads(path.read_text()) == {
            "grpc": "127.0.0.1:8001",
            "http": "127.0.0.1:8000",
            "ops": "127.0.0.1:8002",
            "pid": os.getpid(),
        }
        assert path.stat().st_mode & 0o777 == 0o644
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_another_servers_file_is_left_alone(tmp_path: Path) -> None:
    """Who wrote last owns it."""
    path = tmp_path / "ready.json"
    with ReadyFile(path) as ready:
        ready.write("127.0.0.1:8001")
        path.write_text("another")
    assert path.read_text() == "another"


def test_a_file_removed_meanwhile_is_no_error(tmp_path: Path) -> None:
    """Somebody tidied up."""
    path = tmp_path / "ready.json"
    with ReadyFile(path) as ready:
        ready.write("127.0.0.1:8001")
        path.unlink()


def test_what_a_killed_server_left_is_cleared(tmp_path: Path) -> None:
    """And where nothing is left, that is no error."""
    path = tmp_path / "ready.json"
    path.write_text("stale")
    with ReadyFile(path) as ready:
        ready.clear()
        assert not path.exists()
        ready.clear()


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is optional."""
    monkeypatch.chdir(tmp_path)
    with ReadyFile(None) as ready:
        ready.write("127.0.0.1:8001")
        assert list(tmp_path.iterdir()) == []


def test_whether_it_could_be_written_is_known_beforehand(tmp_path: Path) -> None:
    """Trying leaves nothing behind, and finds a folder in the file's place."""
    with ReadyFile(tmp_path / "ready.json") as ready:
        ready.check()
    assert list(tmp_path.iterdir()) == []
    with ReadyFile(tmp_path) as ready, pytest.raises(IsADirectoryError):
        ready.check()
    with ReadyFile(tmp_path / "absent" / "f") as ready, pytest.raises(FileNotFoundError):
        ready.check()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As the error it is."""
    with ReadyFile(tmp_path / "absent" / "f") as ready, pytest.raises(FileNotFoundError):
        ready.write("127.0.0.1:8001")
