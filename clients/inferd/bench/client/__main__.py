"""`python -m inferd.bench.client`: orders on standard input, reports on standard output.

Ends when its standard input does: it never outlives whoever started it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from inferd.bench.client.aio import AioStream, AioUnary
from inferd.bench.client.core import CoreUnknown, check_core
from inferd.bench.client.messages import StreamPayload
from inferd.bench.client.stream import CoreStream
from inferd.bench.client.transport import Transport
from inferd.bench.client.unary import CoreUnary
from inferd.bench.client.work import Work
from inferd.bench.orders import TO_CLIENT, Connect, Connected, Failed, Load, Message, Stop, line

_REACHED_WITHIN = 10.0
_PR_SET_TIMERSLACK = 29


class Client:
    """Carries out orders, one load at a time."""

    def __init__(self) -> None:
        self._transports: Sequence[Transport] = ()
        self._payload_bytes = 0
        self._work: Work | None = None
        self._thread: threading.Thread | None = None

    def obey(self, order: Connect | Load | Stop) -> None:
        """Carry out an order. A load goes on in a thread of its own and reports when it ends."""
        match order:
            case Connect():
                self._connect(order)
            case Load():
                if self._thread is not None:
                    self._thread.join()
                self._work = Work(order, self._transports, self._payload_bytes, _tell)
                self._thread = threading.Thread(target=_run, args=(self._work,), name="work")
                self._thread.start()
            case Stop():
                if self._work is not None:
                    self._work.stop()

    def _connect(self, order: Connect) -> None:
        payload = Path(order.payload).read_bytes()
        self._payload_bytes = len(payload)
        kind = _kind(order)
        make = _MAKERS[kind, order.stream]
        self._transports = [make(order.address, payload) for _ in range(order.connections)]
        for transport in self._transports:
            problem = transport.reach(_REACHED_WITHIN)
            if problem is not None:
                _tell(Failed(f"no answer from {order.address}: {problem}"))
                return
        gc.collect()
        gc.freeze()
        _tell(Connected(kind))


def main() -> int:
    """Obey until standard input ends."""
    # Ctrl-C goes to all of a terminal's processes; the one that orders decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Sleeps of the open loop end when they should, not up to 50 µs later. Threads inherit it.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    # A thread that has an event waits for another one's turn; 5 ms would be a long latency.
    sys.setswitchinterval(0.0005)
    client = Client()
    for text in sys.stdin.buffer:
        client.obey(TO_CLIENT.decode(text))
    sys.stdout.flush()
    os._exit(0)  # without waiting for requests that nobody wants any more


def _run(work: Work) -> None:
    try:
        _tell(work.run())
    except Exception as error:  # the bench must learn of it, or it would wait for ever
        _tell(Failed(f"a client process failed: {type(error).__name__}: {error}"))
        raise


def _kind(order: Connect) -> Literal["core", "aio"]:
    if order.transport != "auto":
        return order.transport
    try:
        check_core()
    except CoreUnknown:
        return "aio"
    return "core"


_MAKERS: Mapping[tuple[str, bool], Callable[[str, bytes], Transport]] = {
    ("core", False): CoreUnary,
    ("aio", False): AioUnary,
    ("core", True): lambda address, payload: CoreStream(address, StreamPayload(payload)),
    ("aio", True): lambda address, payload: AioStream(address, StreamPayload(payload)),
}

_telling = threading.Lock()


def _tell(message: Message) -> None:
    with _telling:
        sys.stdout.buffer.write(line(message))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
