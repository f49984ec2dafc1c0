"""`python -m inferd.server.gateway`: started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import signal
import sys

from inferd.core.link.messages import ToGateway
from inferd.core.link.sockets import MessageSocket, adopt
from inferd.core.process import die_with_parent
from inferd.core.telemetry import logs


def main() -> int:
    """Attach to the supervisor and serve until it says so; returns the exit code."""
    parser = argparse.ArgumentParser(prog="inferd-gateway", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="auto")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    # Ctrl-C reaches the whole terminal: the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(arguments.log_level, arguments.log_format, process="gateway")

    # grpc comes only now: the parent's death must be watched before anything can start a thread.
    from inferd.server.gateway.app import serve  # noqa: PLC0415

    return serve(MessageSocket(adopt(arguments.control_fd), ToGateway))


if __name__ == "__main__":
    sys.exit(main())
