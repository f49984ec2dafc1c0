"""What clients ask for and the supervisor performs: load and unload, and shared memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from inferd.core.link.messages import (
    CommandAnswer,
    RegisterRegion,
    RepositoryCommand,
    UnregisterRegion,
)
from inferd.core.link.sockets import PeerGone
from inferd.wire.errors import LoadFailed, ServingError, Unavailable, error_types

Told = Callable[[ServingError | None], None]

_ERRORS = error_types()


Command = RepositoryCommand | RegisterRegion | UnregisterRegion


class Commands:
    """Pairs commands that went to the supervisor with its answers. Safe from any thread."""

    def __init__(self, send: Callable[[Command], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[int, Told] = {}
        self._numbers = itertools.count(1)

    def perform(self, verb: str, model: str, told: Told) -> None:
        """Have a model loaded or unloaded; `told` hears of the outcome once, on another thread."""
        self._ask(lambda number: RepositoryCommand(number, verb, model), told)

    def register(self, name: str, key: str, offset: int, nbytes: int, told: Told) -> None:
        """Have a client's shared memory made known to every gateway."""
        self._ask(lambda number: RegisterRegion(number, name, key, offset, nbytes), told)

    def unregister(self, name: str, told: Told) -> None:
        """Have shared memory forgotten by every gateway, all of it where the name is empty."""
        self._ask(lambda number: UnregisterRegion(number, name), told)

    def _ask(self, command: Callable[[int], Command], told: Told) -> None:
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = told
        try:
            self._send(command(number))
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
