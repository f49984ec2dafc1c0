"""What a child prints is logged, to its last word, and costs its reader a bounded effort."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from inferd.core.link.messages import FromWorker, ToWorker
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.replicas.lines import MOST_AT_ONCE
from inferd.server.supervisor.replicas.output import MOST_LAST_LINES
from inferd.server.supervisor.replicas.process import ChildProcess, Exit
from support.descriptors import descriptors

BOUND = 20.0

Line = dict[str, Any]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No descriptor is left by a child that has ended."""
    before = descriptors()
    yield
    assert descriptors().items() <= before.items()


async def printed(code: str) -> tuple[Exit, int, list[Line]]:
    """How a program ended, its pid, and what was logged of what it printed."""
    with capture_logs() as logged:
        child: ChildProcess[ToWorker, FromWorker] = ChildProcess.spawn(
            [sys.executable, "-c", "import os, sys, time\n" + code],
            FromWorker,
            on_message=print,
            on_exit=lambda _: None,
            printed=get_logger("inferd.output").bind(model="m", version=2),
        )
        async with asyncio.timeout(BOUND):
            ended = await asyncio.shield(child.exit)
    return ended, child.pid, [dict(each) for each in logged]


async def test_lines_are_logged_with_their_model_process_and_stream() -> None:
    """Of Python and of whoever writes to the descriptors; stderr is a warning."""
    code = "print('from python', flush=True); os.write(1, b'from C\\n'); os.write(2, b'bad\\n')"
    ended, pid, logged = await printed(code)
    assert ended == Exit(code=0)
    common = {"model": "m", "version": 2, "worker": pid}
    out = {**common, "stream": "stdout", "log_level": "info"}
    assert sorted(logged, key=lambda each: each["event"]) == [
        {**common, "stream": "stderr", "log_level": "warning", "event": "bad"},
        {**out, "event": "from C"},
        {**out, "event": "from python"},
    ]


async def test_last_words_are_kept() -> None:
    """What it wrote right before a signal ended it is logged, with or without an end of line."""
    code = "os.write(1, b'first\\nsecond'); os.write(2, b'terminate called'); os.abort()"
    ended, _, logged = await printed(code)
    assert ended == Exit(signal=6)
    told = sorted(each["event"] for each in logged)
    assert told == ["first", "second", "terminate called"]


async def test_a_flood_is_read_and_counted() -> None:
    """The program gets through; what is logged is bounded, and all else is counted."""
    most = 300_000
    ended, _, logged = await printed(f"for _ in range({most // 1000}): os.write(1, b'y\\n' * 1000)")
    assert ended == Exit(code=0)
    lines = [each for each in logged if each["event"] == "y"]
    dropped = [each["dropped"] for each in logged if "dropped" in each]
    assert MOST_LAST_LINES <= len(lines) < MOST_AT_ONCE + MOST_LAST_LINES + BOUND * 100
    assert len(lines) + sum(dropped) == most


async def test_an_heir_of_the_pipes_holds_nobody_up(tmp_path: Path) -> None:
    """A daemon that it leaves behind, and that keeps the pipes open, is not waited for."""
    note = tmp_path / "daemon"
    os.mkfifo(note)
    holding = os.open(note, os.O_RDWR)  # as long as this is open, the daemon waits
    code = (
        f"reading, writing = os.pipe(); note = os.open({str(note)!r}, os.O_RDWR)\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); os.write(1, b'daemon\\n'); os.write(writing, b'.'); os.read(note, 1)\n"
        "    os._exit(0)\n"
        "os.read(reading, 1)"
    )
    ended, _, logged = await printed(code)
    assert ended == Exit(code=0)
    assert [each["event"] for each in logged] == ["daemon"]
    os.write(holding, b".")
    os.close(holding)


async def test_its_own_logs_go_where_ours_go(capfd: pytest.CaptureFixture[str]) -> None:
    """The descriptor of `--log-fd` is our stderr, and no line of the model's."""
    code = "fd = int(sys.argv[sys.argv.index('--log-fd') + 1]); os.write(fd, b'own log\\n')"
    _, _, logged = await printed(code)
    assert logged == []
    assert capfd.readouterr().err == "own log\n"


async def test_nothing_is_left_of_a_child_that_cannot_start() -> None:
    """Neither pipes nor readers."""
    with pytest.raises(FileNotFoundError):
        ChildProcess.spawn(
            ["/absent"],
            FromWorker,
            on_message=print,
            on_exit=print,
            printed=get_logger("inferd.output"),
        )
