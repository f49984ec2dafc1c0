"""What a child prints, by Python, C or whatever died in it: read from pipes and logged by line."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterable, Iterator

import structlog

from inferd.server.supervisor.replicas.lines import Allowance, Lines

MOST_LAST_LINES = 200
"""Lines that a dead child had left in its pipes: its last words are logged at any rate."""

_CHUNK = 64 << 10
_MOST_LAST_CHUNKS = 4
"""Reads per pipe of a dead child: who still writes to it must not keep us."""

_TELL_AFTER = 1.0
"""Seconds between two counts of lines that were not logged."""

_STDERR = 2

Log = structlog.stdlib.BoundLogger


class Output:
    """The two pipes of one child, read on the loop, however much comes.

    Every line goes to `log`, at level info what comes from stdout and warning what comes from
    stderr. Beyond the allowance lines are read and counted only. The child's own logs have our
    stderr, under `log_fd`.
    """

    def __init__(self, log: Log) -> None:
        """Pipes for a child to be started; then `begin` or `abandon` is due."""
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(self._loop.time())
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self.log_fd = os.dup(_STDERR)
        out, self.stdout = os.pipe()
        err, self.stderr = os.pipe()
        self._pipes = {out: _Stream("stdout"), err: _Stream("stderr")}

    def begin(self, pid: int) -> None:
        """The child runs and has its ends: read."""
        self._log = self._log.bind(worker=pid)
        self._let_go()
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._readable, pipe)

    def abandon(self) -> None:
        """There is no child."""
        self._let_go()
        for pipe in self._pipes:
            os.close(pipe)

    def end(self) -> None:
        """The child is dead: log its last words and close the pipes, whoever else holds them."""
        for pipe, stream in list(self._pipes.items()):
            last: deque[str] = deque(maxlen=MOST_LAST_LINES)
            for line in _rest(pipe, stream.lines):
                self._dropped += len(last) == MOST_LAST_LINES
                last.append(line)
            self._close(pipe)
            self._write(stream.name, last)
        if self._timer is not None:
            self._timer.cancel()
        self._tell_dropped()

    def _let_go(self) -> None:
        for fd in (self.stdout, self.stderr, self.log_fd):
            os.close(fd)

    def _readable(self, pipe: int) -> None:
        data = _read(pipe)
        if data is None:
            return
        stream = self._pipes[pipe]
        if not data:  # closed by all who had it
            self._close(pipe)
            self._write(stream.name, stream.lines.end())
            return
        lines, beyond = stream.lines.feed(data, self._allowance.left(self._loop.time()))
        self._allowance.use(len(lines))
        self._write(stream.name, lines)
        self._dropped += beyond
        if self._dropped and self._timer is None:
            self._timer = self._loop.call_later(_TELL_AFTER, self._tell_dropped)

    def _close(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        del self._pipes[pipe]
        os.close(pipe)

    def _write(self, name: str, lines: Iterable[str]) -> None:
        write = self._log.info if name == "stdout" else self._log.warning
        for line in lines:
            write(line, stream=name)

    def _tell_dropped(self) -> None:
        self._timer = None
        if self._dropped:
            self._log.warning(
                "the model prints more than is logged: lines were dropped", dropped=self._dropped
            )
            self._dropped = 0


class _Stream:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = Lines()


def _read(pipe: int) -> bytes | None:
    """What there is to read: nothing at the end, None where it may still come."""
    try:
        return os.read(pipe, _CHUNK)
    except BlockingIOError:
        return None


def _rest(pipe: int, lines: Lines) -> Iterator[str]:
    """All lines that are left in a pipe, the last one even if it does not end."""
    for _ in range(_MOST_LAST_CHUNKS):
        if not (data := _read(pipe)):
            break
        yield from lines.feed(data, _CHUNK)[0]
    yield from lines.end()
