"""Who reads the sockets: the loop that waits on the completion queue, not threads of the core."""

from __future__ import annotations

import os
from importlib.metadata import version

_VARIABLE = "GRPC_EXPERIMENTS"
_LISTENER = "event_engine_listener"
_KNOWN = range(78, 87)
"""Minor versions of grpcio 1 that know the experiment; others would complain on stderr."""


def read_sockets_in_the_loop() -> None:
    """Have the core's listener polled by the completion queue; grpc must not be imported yet.

    With its event engine, threads of the core read the sockets and wake the loop up for each
    message: a fifth of the CPU time of a small request went into that. Variable and experiment:
    https://github.com/grpc/grpc/blob/master/doc/environment_variables.md. What an operator has
    set there has the last word.
    """
    major, minor, *_ = version("grpcio").split(".")
    given = os.environ.get(_VARIABLE, "")
    if major == "1" and int(minor) in _KNOWN and _LISTENER not in given:
        os.environ[_VARIABLE] = ",".join(filter(None, (f"-{_LISTENER}", given)))
