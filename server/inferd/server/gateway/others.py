"""The other gateways of this server, reached through the supervisor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inferd.core.link.messages import AskCounts, MemoryUsage, OtherCounts
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry.counts import Counts

Memory = Mapping[tuple[str, int], tuple[MemoryUsage, ...]]
"""What versions take, by model and version, on the whole server; some may be missing."""

Told = Callable[[Counts, Memory], None]


class OtherGateways:
    """Asks what they have counted, and what those had that are no more. Safe from any thread.

    With the answer comes what memory models take, which only the supervisor sees.
    """

    def __init__(self, send: Callable[[AskCounts], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)

    def counts(self, told: Told) -> None:
        """Ask for their counts; `told` hears them once, on another thread, within a second or so.

        With the supervisor gone, and this process about to end, `told` hears of none.
        """
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = _Asked(told)
        try:
            self._send(AskCounts(number))
        except PeerGone:
            with self._lock:
                self._waiting.pop(number, None)
            told(Counts(), {})

    def answered(self, answer: OtherCounts) -> None:
        """Pass the supervisor's answer on, once all of it is here."""
        with self._lock:
            waiting = self._waiting.get(answer.ask)
            if waiting is None:
                return
            if answer.last:
                del self._waiting[answer.ask]
        waiting.counts.update(answer.counts)
        waiting.memory.update(((each.model, each.version), each.usage) for each in answer.memory)
        if answer.last:
            waiting.told(waiting.counts, waiting.memory)


@dataclass(slots=True)
class _Asked:
    told: Told
    counts: Counts = field(default_factory=Counts)
    memory: dict[tuple[str, int], tuple[MemoryUsage, ...]] = field(default_factory=dict)
