"""The start of a gateway process, up to where gRPC may start threads."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from inferd.core.link.messages import ToGateway
from inferd.core.link.sockets import MessageSocket, adopt
from inferd.core.process import die_with_parent
from inferd.core.telemetry import logs
from inferd.server.gateway.rpc.completion_queue.polling import read_sockets_in_the_loop


def main(argv: Sequence[str]) -> int:
    """Attach to the supervisor and serve until it says so; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m inferd.server.gateway",
        description="The gateway of `inferd serve`, which starts it; of no use by itself.",
    )
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--name", default="gateway")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="auto")
    arguments = parser.parse_args(argv)
    die_with_parent(arguments.parent)
    # Ctrl-C reaches the whole terminal: the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(arguments.log_level, arguments.log_format, process=arguments.name)

    read_sockets_in_the_loop()
    # grpc comes only now: the parent's death must be watched before anything can start a thread.
    from inferd.server.gateway.app import serve  # noqa: PLC0415

    return serve(MessageSocket(adopt(arguments.control_fd), ToGateway))
