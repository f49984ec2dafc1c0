"""Keys of a terminal as they are pressed, without waiting for the end of a line."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Keys:
    """Reads a terminal key by key; leaving the context, however, leaves it as it was.

    Ctrl-C is KeyboardInterrupt as ever, SIGTERM and SIGHUP are SystemExit, and Ctrl-Z does nothing: the
    shell would find the terminal as it is now. Where the stream is no terminal, no key is ever pressed.
    """

    def __init__(self, stream: TextIO = sys.stdin) -> None:
        self._fd = stream.fileno() if stream.isatty() else None
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
        try:
            for number in _ENDING:
                self._handlers[number] = signal.signal(number, _end)
            if self._fd is not None:
                tty.setcbreak(self._fd)
                now = termios.tcgetattr(self._fd)
                now[6][termios.VSUSP] = b"\0"
                termios.tcsetattr(self._fd, termios.TCSANOW, now)
        except BaseException:  # a signal, for one: nobody would leave what was not entered
            self._restore()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def until(self, due: float) -> Iterator[str]:
        """The keys that are pressed up to `due`, in seconds of `time.monotonic`."""
        while (left := due - time.monotonic()) > 0:
            ready, _, _ = select.select([] if self._fd is None else [self._fd], [], [], left)
            if ready and self._fd is not None:
                typed = os.read(self._fd, 64)
                if not typed:  # the terminal is gone
                    raise SystemExit(128 + signal.SIGHUP)
                yield from typed.decode("utf-8", "replace")

    def _restore(self) -> None:
        if self._fd is not None:
            # What was typed meanwhile was typed for us, not for the shell.
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
