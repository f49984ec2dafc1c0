"""Finding and watching the processes of a server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferd.bench.observed.footprint import (
    ServerTree,
    Unseen,
    local_port,
    root_of,
    server_root,
)

LISTENER = """
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {LISTENER!r}])
"""


@pytest.fixture
def server() -> Iterator[tuple[int, int]]:
    """Process id of a server whose child listens, and the port."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


def test_the_root_is_found_from_the_port(server: tuple[int, int]) -> None:
    """Up from who listens to who started it, and not as far as who started us both."""
    pid, port = server
    assert server_root(f"127.0.0.1:{port}") == pid
    assert server_root(f"localhost:{port}") == pid


@pytest.mark.parametrize("name", ["docker-proxy", "sshd", "socat", "kubectl"])
def test_a_proxy_is_not_the_server(name: str, tmp_path: Path) -> None:
    """What it uses says nothing about the server that it stands for; the reason names it."""
    # A process's name, as the kernel has it, is the file that it was started from.
    program = tmp_path / name
    program.symlink_to(sys.executable)
    command = [str(program), "-c", LISTENER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with pytest.raises(Unseen, match=rf"{name} \(process {process.pid}\) listens"):
            server_root(f"127.0.0.1:{port}")
        process.communicate()


def test_the_reason_is_told_where_nothing_is_seen() -> None:
    """Another machine's server, or a port at which nobody of this user listens."""
    with pytest.raises(Unseen, match="it is remote"):
        server_root("example.com:8001")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Unseen, match="its process is not visible"):
            server_root(f"127.0.0.1:{bound.getsockname()[1]}")


def test_the_tree_is_watched(server: tuple[int, int]) -> None:
    """Memory of both processes is in it."""
    tree = ServerTree(server[0])
    watch = tree.watch()
    watch.sample()
    watch.close()
    found = watch.footprint()
    assert found.processes == 2
    assert found.rss > 5_000_000
    assert found.cpus == os.sched_getaffinity(0)
    assert found.pss is not None
    assert found.pss <= found.rss
    assert str(server[0]) in tree.description


def test_our_own_family_is_no_server() -> None:
    """Going up ends below the process that looks, whoever that is."""
    assert root_of(os.getpid()) == os.getpid()


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("127.0.0.1:8001", 8001),
        ("127.9.9.9:1", 1),
        ("localhost:8001", 8001),
        ("grpc://localhost:8001/", 8001),
        ("[::1]:8001", 8001),
        ("10.0.0.1:8001", None),
        ("example.com:8001", None),
        ("unix:/tmp/socket", None),
    ],
)
def test_only_loopback_is_this_machine(address: str, port: int | None) -> None:
    """Another machine's ports say nothing about our processes."""
    assert local_port(address) == port


def test_a_missing_process_is_said_so() -> None:
    """Rather than a footprint of nothing."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(10)
    with pytest.raises(ProcessLookupError, match=f"no process {gone.pid}"):
        ServerTree(gone.pid)
