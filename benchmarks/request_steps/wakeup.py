"""How long a message takes to another process that sleeps on its socket."""

from __future__ import annotations

import os
import select
import socket
import sys
from statistics import median
from subprocess import DEVNULL, Popen
from time import perf_counter_ns

from inferd.core.link.sockets import socket_pair

_MESSAGE = bytes(40)
"""About as large as a batch's."""


def wakeup_cost(seconds: float) -> float:
    """Microseconds one way, sending and receiving included; both processes on one core."""
    ours, theirs = socket_pair()
    core = min(os.sched_getaffinity(0))
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=DEVNULL,
        ):
            theirs.close()
            waiting = select.epoll()
            waiting.register(ours.fileno(), select.EPOLLIN)
            ours.recv(64)  # it is there
            trips: list[int] = []
            until = perf_counter_ns() + seconds * 1e9
            while len(trips) < 100 or perf_counter_ns() < until:
                started = perf_counter_ns()
                ours.send(_MESSAGE)
                waiting.poll()
                ours.recv(64)
                trips.append(perf_counter_ns() - started)
            ours.close()
    finally:
        os.sched_setaffinity(0, allowed)
    return median(trips) / 2000


def main(fd: int) -> None:
    """Send every message back."""
    link = socket.socket(fileno=fd)
    waiting = select.epoll()
    waiting.register(fd, select.EPOLLIN)
    message = _MESSAGE
    while message:
        link.send(message)
        waiting.poll()
        message = link.recv(64)


if __name__ == "__main__":
    main(int(sys.argv[1]))
