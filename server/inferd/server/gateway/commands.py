"""Load and unload, asked for by clients and performed by the supervisor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from inferd.core.link.messages import CommandAnswer, RepositoryCommand
from inferd.core.link.sockets import PeerGone
from inferd.wire.errors import LoadFailed, ServingError, Unavailable, error_types

Told = Callable[[ServingError | None], None]

_ERRORS = error_types()


class RepositoryCommands:
    """Pairs commands that went to the supervisor with its answers. Safe from any thread."""

    def __init__(self, send: Callable[[RepositoryCommand], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[int, Told] = {}
        self._numbers = itertools.count(1)

    def perform(self, verb: str, model: str, told: Told) -> None:
        """Ask the supervisor; `told` hears of the outcome once, on another thread."""
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = told
        try:
            self._send(RepositoryCommand(number, verb, model))
        except PeerGone:
            with self._lock:
                self._waiting.pop(number, None)
            told(Unavailable("the supervisor is gone; this server is about to end"))

    def answered(self, answer: CommandAnswer) -> None:
        """Pass the supervisor's answer on."""
        with self._lock:
            told = self._waiting.pop(answer.command, None)
        if told is None:
            return
        fault = answer.fault
        if fault is None:
            told(None)
        else:
            kind = _ERRORS.get(fault.reason, LoadFailed)
            told(kind(fault.message, retry_after=fault.retry_after))
