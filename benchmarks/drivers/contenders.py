"""Who is measured: one line per contender."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.driver import Driver
from drivers.process import ServerProcess

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent

SUBJECT = "inferd"
"""Whom the others are compared with."""


def inferd() -> Driver:
    """`inferd serve` of `models/echo` alone, with the settings it has by itself."""

    def command(ready: Path) -> Sequence[str]:
        program = str(Path(sys.executable).with_name("inferd"))
        serve = [program, "serve", "models/echo", "--trust", "echo", "--grpc", "127.0.0.1:0"]
        return [*serve, "--ready-file", str(ready)]

    return ServerProcess(SUBJECT, "inferd serve models/echo", command, folder=ROOT)


def threaded() -> Driver:
    """The bare threaded server of grpcio."""
    return _own("threaded", "bare threaded grpcio echo", "servers.threaded")


def prototype() -> Driver:
    """The bare design of inferd."""
    return _own("prototype", "completion queue, slots and one worker", "servers.prototype.gateway")


CONTENDERS: dict[str, Callable[[], Driver]] = {
    SUBJECT: inferd,
    "threaded": threaded,
    "prototype": prototype,
}
"""By name, in the order of the tables."""


def _own(name: str, description: str, module: str) -> Driver:
    """A server of ours: it dies with this process, whatever becomes of it."""

    def command(ready: Path) -> Sequence[str]:
        options = ["--ready-file", str(ready), "--parent", str(os.getpid())]
        return [sys.executable, "-m", module, *options]

    return ServerProcess(name, description, command, folder=BENCHMARKS)
