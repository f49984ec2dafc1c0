"""The other gateways of this server, reached through the supervisor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from inferd.core.link.messages import AskCounts, OtherCounts
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry.counts import Counts

Told = Callable[[Counts], None]


class OtherGateways:
    """Asks what they have counted, and what those had that are no more. Safe from any thread."""

    def __init__(self, send: Callable[[AskCounts], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Counts, Told]] = {}
        self._numbers = itertools.count(1)

    def counts(self, told: Told) -> None:
        """Ask for their counts; `told` hears them once, on another thread, within a second or so.

        With the supervisor gone, and this process about to end, `told` hears of none.
        """
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = Counts(), told
        try:
            self._send(AskCounts(number))
        except PeerGone:
            with self._lock:
                self._waiting.pop(number, None)
            told(Counts())

    def answered(self, answer: OtherCounts) -> None:
        """Pass the supervisor's answer on, once all of it is here."""
        with self._lock:
            waiting = self._waiting.get(answer.ask)
            if waiting is None:
                return
            if answer.last:
                del self._waiting[answer.ask]
        counts, told = waiting
        counts.update(answer.counts)
        if answer.last:
            told(counts)
