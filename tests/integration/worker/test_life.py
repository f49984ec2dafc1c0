"""How a worker process begins and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inferd.core.link.messages import BatchDone, LoadingFailed, ModelSource, Pinning, StopWorker
from support import programs
from support.worker_process import PATIENCE, WorkerProcess


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A model that loads."""
    file = programs.saved(programs.linear(), tmp_path_factory.mktemp("linear"))
    return ModelSource("linear", 1, "exported", str(file))


def test_it_stops_when_told(source: ModelSource) -> None:
    """The batch in hand is answered first, and the exit status says that all is well."""
    with WorkerProcess() as worker:
        worker.loaded(source)
        with worker.open_link() as link:
            link.send([programs.rows(2).numpy()])
            link.expect(BatchDone)
            worker.process.send_signal(signal.SIGINT)  # the terminal's, not meant for it
            link.run(programs.rows(2).numpy())
            worker.control.send(StopWorker())
            assert worker.wait() == 0


def test_it_ends_when_its_supervisor_goes(source: ModelSource) -> None:
    """End of file on the control socket ends it, even with a gateway attached."""
    with WorkerProcess() as worker:
        worker.loaded(source)
        with worker.open_link() as link:
            link.run(programs.rows(2).numpy())
            worker.control.close()
            assert worker.wait() == 0


def test_it_ends_without_having_loaded() -> None:
    """A supervisor that goes before its first word leaves no process behind, nor a complaint."""
    with WorkerProcess() as worker:
        worker.control.close()
        assert worker.wait() == 0
        assert worker.errors() == ""


def test_a_corrupt_file_is_reported(tmp_path: Path) -> None:
    """One line without folders goes to the supervisor, the whole story to the log."""
    file = tmp_path / "model.pt2"
    file.write_bytes(b"PK\x03\x04 this is no archive")
    with WorkerProcess() as worker:
        report = worker.load(ModelSource("broken", 1, "exported", str(file)))
        assert isinstance(report, LoadingFailed)
        assert report.reason.startswith("model.pt2 could not be read as a program of torch.export")
        assert "\n" not in report.reason
        assert str(tmp_path) not in report.reason
        assert worker.wait() == 1
        assert "Traceback" in worker.errors()


def test_what_cannot_be_pinned_is_reported_before_torch_is_imported(source: ModelSource) -> None:
    """A wrong device costs no seconds, and the reason says what could be had."""
    with WorkerProcess() as worker:
        report = worker.load(source, Pinning("cpu", (4095,)))
        assert isinstance(report, LoadingFailed)
        assert "CPU cores 4095" in report.reason
        assert worker.wait() == 1


_PARENT = """
import subprocess, sys
from inferd.core.link.sockets import socket_pair
ours, theirs = socket_pair()
import os
child = subprocess.Popen(
    [sys.executable, "-m", "inferd.worker", "--control-fd", str(theirs.fileno()),
     "--parent", str(os.getpid()), "--log-format", "json"],
    pass_fds=[theirs.fileno(), ours.fileno()],  # both ends: no end of file will come to it
)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_it_is_killed_with_its_parent() -> None:
    """Even where no end of file comes, SIGKILL of the supervisor takes its workers along."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        watch = os.pidfd_open(child)
        try:
            parent.kill()
            parent.wait()
            assert _ended(watch)
        finally:
            os.close(watch)


def test_it_does_not_start_without_its_parent() -> None:
    """A parent that died before the first act of its child would never be noticed again."""
    command = [sys.executable, "-m", "inferd.worker", "--control-fd", "0", "--parent", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "the parent process 1 is gone; nothing to do without it"


def _ended(pidfd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(PATIENCE * 1000))
