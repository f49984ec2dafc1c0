"""A gateway's core is told who reads its sockets, before it is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from inferd.server.gateway.rpc.completion_queue import polling
from inferd.server.gateway.rpc.completion_queue.polling import read_sockets_in_the_loop

VARIABLE = "GRPC_EXPERIMENTS"

GATEWAY = f"""
import importlib.abc, os, sys
from inferd.server.gateway.bootstrap import main
assert "grpc" not in sys.modules, "the bootstrap imports grpc"

class Witness(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            print(os.environ.get({VARIABLE!r}), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Witness())
main(["--control-fd", "0", "--parent", str(os.getppid())])
"""


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (None, "-event_engine_listener"),
        ("", "-event_engine_listener"),
        ("tcp_frame_size_tuning", "-event_engine_listener,tcp_frame_size_tuning"),
        ("event_engine_listener", "event_engine_listener"),
        ("-event_engine_listener,other", "-event_engine_listener,other"),
    ],
)
def test_the_listener_is_polled_unless_somebody_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, becomes: str
) -> None:
    """It joins what is set there; an operator's own word on it stays as it is."""
    _set(monkeypatch, given)
    monkeypatch.setattr(polling, "version", lambda _: "1.80.0")
    read_sockets_in_the_loop()
    assert os.environ[VARIABLE] == becomes


@pytest.mark.parametrize("grpcio", ["1.77.1", "1.87.0", "2.80.0"])
@pytest.mark.parametrize("given", [None, "other"])
def test_an_unknown_core_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, grpcio: str, given: str | None
) -> None:
    """It would complain of an experiment that it does not know."""
    _set(monkeypatch, given)
    monkeypatch.setattr(polling, "version", lambda _: grpcio)
    read_sockets_in_the_loop()
    assert os.environ.get(VARIABLE) == given


def test_a_gateway_says_so_before_grpc_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bootstrap imports no grpc, and the variable is set when the gateway does."""
    _set(monkeypatch, None)
    read_sockets_in_the_loop()
    expected = os.environ.get(VARIABLE)  # nothing with a grpcio that does not know it
    monkeypatch.delenv(VARIABLE, raising=False)
    ran = subprocess.run(
        [sys.executable, "-c", GATEWAY], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == (str(expected), 0), ran.stderr


def _set(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.setenv(VARIABLE, value or "")  # so that it is as before afterwards
    if value is None:
        monkeypatch.delenv(VARIABLE)
