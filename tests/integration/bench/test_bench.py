"""`inferd bench` as a person types it, against `inferd serve`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import psutil

from inferd.bench.result import StepResult, from_json
from inferd.client import connect
from support.server import PATIENCE, Server, wait_for_end

SHORT = ("--duration", "0.5", "--warm-up", "0.1")


def command(server: Server, *arguments: str) -> list[str]:
    """The command line."""
    program = str(Path(sys.executable).with_name("inferd"))
    return [program, "bench", *arguments, "--address", server.address]


def measured(server: Server, folder: Path, *arguments: str) -> tuple[StepResult, ...]:
    """The steps of a run that has to succeed."""
    file = folder / "result.json"
    done = subprocess.run(
        command(server, "digits", *arguments, *SHORT, "--output", str(file)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = from_json(file.read_bytes()).steps
    for step in steps:
        assert step.answered > 0
        # On a busy machine the server may be slow: that is measured, not wrong.
        assert {error.code for error in step.errors} <= {"DEADLINE_EXCEEDED"}
    return steps


def test_a_closed_loop_sees_the_server_too(digits: Server, tmp_path: Path) -> None:
    """Latency, the server's own split, and what its whole process tree used."""
    one, four = measured(digits, tmp_path, "--concurrency", "1,4", "--processes", "1")
    for step in (one, four):
        assert step.latency_ms is not None
        assert step.server is not None
        assert step.server.compute_infer_ms > 0
        assert step.resources is not None
        assert step.resources.processes == len(digits.tree())
        assert step.resources.rss_bytes > 100_000_000
    assert one.server is not None
    assert one.server.batch == 1.0


def test_an_open_loop_sends_what_was_ordered(digits: Server, tmp_path: Path) -> None:
    """The number of requests follows from the rate and the seed alone."""
    arguments = ("--rate", "100", "--arrivals", "constant", "--processes", "1")
    (step,) = measured(digits, tmp_path, *arguments)
    assert step.answered + step.failed == 50


def test_several_processes_share_the_load(digits: Server, tmp_path: Path) -> None:
    """Callers and arrivals are divided among them."""
    (closed,) = measured(digits, tmp_path, "--concurrency", "3", "--processes", "2")
    assert closed.client.processes == 2
    arguments = ("--rate", "100", "--arrivals", "constant", "--processes", "2")
    (opened,) = measured(digits, tmp_path, *arguments)
    assert (opened.client.processes, opened.answered + opened.failed) == (2, 50)


def test_several_connections_share_the_load(digits: Server, tmp_path: Path) -> None:
    """Within one process."""
    arguments = ("--concurrency", "4", "--connections", "2", "--processes", "1")
    (step,) = measured(digits, tmp_path, *arguments)
    assert step.client.transport == "core"


def test_a_mistyped_model_is_named(digits: Server) -> None:
    """One line, exit code 1."""
    done = subprocess.run(
        command(digits, "digts"), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "did you mean 'digits'" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_shows_what_was_measured(digits: Server) -> None:
    """Exit code 130, the figures so far, and no process left behind."""
    arguments = ("digits", "--concurrency", "2,4", "--duration", "600", "--warm-up", "0")
    with subprocess.Popen(
        command(digits, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bench:
        clients = _loading(digits, bench)
        bench.send_signal(signal.SIGINT)
        out, err = bench.communicate(timeout=PATIENCE)
    assert bench.returncode == 130, err
    assert "interrupted: these are the figures so far" in out
    assert "requests/s" in out
    assert wait_for_end(clients, 10) == []


def test_clients_end_with_the_bench(digits: Server) -> None:
    """Also where it is killed and can tell them nothing."""
    arguments = ("digits", "--rate", "50", "--duration", "600", "--warm-up", "0")
    with subprocess.Popen(
        command(digits, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as bench:
        clients = _loading(digits, bench)
        bench.kill()
    assert wait_for_end(clients, 10) == []


def test_a_stream_is_measured(digits: Server, tmp_path: Path) -> None:
    """Requests of all callers on one stream per connection."""
    arguments = ("--stream", "--concurrency", "4", "--processes", "1")
    (step,) = measured(digits, tmp_path, *arguments)
    assert step.client.transport == "core"


def _loading(
    server: Server, bench: subprocess.Popen[str] | subprocess.Popen[bytes]
) -> list[psutil.Process]:
    """The client processes, once their requests are being answered."""
    end = monotonic() + PATIENCE
    with connect(server.address) as client:
        before = client.statistics()[0].success.count
        while client.statistics()[0].success.count < before + 20:
            assert bench.poll() is None, "it ended by itself"
            assert monotonic() < end, "no load arrives"
    clients = psutil.Process(bench.pid).children()
    assert clients
    return clients
