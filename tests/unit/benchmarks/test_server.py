"""A server's processes are found, paused and ended as a whole."""

from __future__ import annotations

import sys
import textwrap
from contextlib import suppress

import psutil
import pytest
from contenders.contender import ContenderError
from contenders.server import Launch, Server
from scenarios import BULK_ROWS, SCENARIOS

CHILD = "import time; time.sleep(60)"
FAMILY = textwrap.dedent(
    f"""
    import subprocess, sys
    child = [sys.executable, "-c", "{CHILD}"]
    subprocess.Popen(child, start_new_session=True)
    subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo ready > started"]).wait()
    subprocess.Popen(child).wait()
    """
)


def test_a_tree_is_paused_and_ended_as_a_whole() -> None:
    """Also what has left the family (its parent is gone) or has a session of its own."""
    server = Server("family")
    try:
        server.start(Launch([sys.executable, "-c", FAMILY]), cpu=None)
        while sorted(last_arguments(server)) != sorted([FAMILY, CHILD, CHILD, "60"]):
            assert server.ended() is None
        found = server.tree.processes()
        assert len(found) == 4
        server.tree.pause()
        for process in found:
            while process.status() != psutil.STATUS_STOPPED:
                pass
        server.tree.resume()
        for process in found:
            while process.status() == psutil.STATUS_STOPPED:
                pass
        assert server.tree.memory_mb()[0] > 0
    finally:
        server.stop()
    assert server.tree.processes() == []
    server.stop()


def last_arguments(server: Server) -> list[str]:
    """Of each process: the shell is gone, and the others are what they will be, once these are right."""
    found = []
    for process in server.tree.processes():
        with suppress(psutil.NoSuchProcess):
            found += process.cmdline()[-1:]
    return found


def test_the_last_words_are_kept() -> None:
    """Why a peer does not start is told in its own words."""
    server = Server("mute")
    try:
        server.start(Launch(["/bin/sh", "-c", "echo no such model >&2; exit 3"]), cpu=None)
        while (end := server.ended()) is None:
            pass
        assert end == "ended with code 3: no such model"
    finally:
        server.stop()


def test_a_command_that_does_not_exist_is_named() -> None:
    """An environment may be half made."""
    server = Server("absent")
    try:
        with pytest.raises(ContenderError, match="absent cannot be started"):
            server.start(Launch(["/nowhere/python"]), cpu=None)
    finally:
        server.stop()


def test_processes_are_told_apart_by_their_command_lines() -> None:
    """Memory of a role is that of its largest process, and a role that nobody has costs nothing."""
    roles = {"root": FAMILY, "sleeper": "60", "nobody": "no such argument"}
    server = Server("family", roles)
    try:
        server.start(Launch([sys.executable, "-c", FAMILY]), cpu=None)
        while not (peaks := server.tree.role_peaks_mb())["sleeper"]:
            assert server.ended() is None
        assert peaks["root"] > peaks["sleeper"]
        assert peaks["nobody"] == 0
    finally:
        server.stop()


def test_cpu_time_is_told_by_role() -> None:
    """What one process burns is not booked on another's role."""
    loop = "while True: pass"
    server = Server("burner", {"burner": loop, "nobody": "no such argument"})
    try:
        server.start(Launch([sys.executable, "-c", loop]), cpu=None)
        while not (spent := server.tree.role_cpu_seconds())["burner"]:
            assert server.ended() is None
        assert spent["nobody"] == 0
    finally:
        server.stop()


def test_the_bulk_titles_tell_the_rows_that_are_sent() -> None:
    """Requests are whole: about 100,000 rows may be some more."""
    for name in ("bulk", "bulk-1024"):
        scenario = SCENARIOS[name]
        assert scenario.requests is not None
        assert scenario.title.startswith(f"{scenario.requests * scenario.rows:,} rows")
        assert scenario.requests * scenario.rows >= BULK_ROWS
