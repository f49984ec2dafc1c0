"""A bench that is told to end leaves neither processes nor files behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from support.oip_server import OipServer

BOUND = 60.0

LOAD = ("pair", "--concurrency", "1", "--processes", "1", "--duration", "600", "--warm-up", "0")


@contextmanager
def benched(folder: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """`inferd bench` whose load waits for an answer, and its client process."""
    code = "from inferd.server.cli.main import main; main()"
    with OipServer() as server, ExitStack() as stack:
        stack.enter_context(server.holding())
        bench = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", code, "bench", *LOAD, "--address", server.address],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": str(folder)},
            )
        )
        stack.callback(bench.kill)
        assert server.held.acquire(timeout=BOUND), "the request was not tried"
        with server.holding():
            pass
        with server.holding():
            assert server.held.acquire(timeout=BOUND), "no load came"
            (client,) = psutil.Process(bench.pid).children()
            assert list(folder.iterdir())
            yield bench, client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    """The same for Ctrl-C and for SIGTERM, such as of a job that takes too long."""
    with benched(tmp_path) as (bench, client):
        bench.send_signal(number)
        out, err = bench.communicate(timeout=BOUND)
        assert bench.returncode == 130, err
        assert "interrupted: these are the figures so far" in out
        assert not client.is_running()
        assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_wait_for_figures(tmp_path: Path) -> None:
    """Also where a client process hangs: nothing of it is left, and there is no traceback."""
    with benched(tmp_path) as (bench, client):
        client.suspend()
        bench.send_signal(signal.SIGTERM)
        bench.send_signal(signal.SIGINT)
        client.resume()
        _, err = bench.communicate(timeout=BOUND)
        assert bench.returncode == 130, err
        assert "Traceback" not in err
        assert not client.is_running()
        assert list(tmp_path.iterdir()) == []
