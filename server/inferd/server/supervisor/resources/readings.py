"""Readings for an event loop: taken beside it, shared by all who ask at about the same time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from inferd.core.clock import Clock, SystemClock
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.resources.resources import Reading, Resources

FRESH = 1.0
"""Seconds for which a reading is good."""

BOUND = 1.0
"""Seconds that one who asks waits for a reading; a driver in trouble may take much longer."""

_log = get_logger(__name__)


class Source(Protocol):
    """What is read; see `Resources`."""

    def read(self, pids: Iterable[int]) -> Reading:
        """A reading of these processes and all GPUs. Blocks."""

    def close(self) -> None:
        """Let go of what it is read with."""


class Readings:
    """One reading at a time, in a thread that nobody has to wait for when the process ends."""

    def __init__(self, source: Source | None = None, clock: Clock | None = None) -> None:
        """Without a `source`, this machine's `Resources`."""
        self._source = source or Resources()
        self._clock = clock or SystemClock()
        self._last: _Taken | None = None
        self._under_way: asyncio.Future[None] | None = None
        self._late = False

    async def recent(self, pids: Iterable[int]) -> Reading | None:
        """A reading of these processes, and maybe others, not older than `FRESH`.

        None if there is none within `BOUND`; call it in one event loop only.
        """
        wanted = frozenset(pids)
        try:
            async with asyncio.timeout(BOUND):
                while (found := self._fresh(wanted)) is None:
                    await asyncio.shield(self._under_way or self._begin(wanted))
        except TimeoutError:
            if not self._late:  # once: a driver that hangs does so for long
                _log.warning("processes and GPUs are not read in time", bound=BOUND)
            self._late = True
        except Exception:  # whatever it was: nobody's answer depends on it
            _log.exception("processes and GPUs cannot be read")
        return found

    def close(self) -> None:
        """Let go of what is read with; takes a second at most, should a reading hang."""
        self._source.close()

    def _fresh(self, wanted: frozenset[int]) -> Reading | None:
        last = self._last
        if last is None or not wanted <= last.pids or self._clock.monotonic() - last.at >= FRESH:
            return None
        return last.reading

    def _begin(self, pids: frozenset[int]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        under_way = self._under_way = loop.create_future()

        def end(outcome: Reading | Exception) -> None:
            self._under_way = None
            if isinstance(outcome, Exception):
                under_way.set_exception(outcome)
                under_way.exception()  # those who waited may have gone
            else:
                self._last = _Taken(outcome, pids, self._clock.monotonic())
                self._late = False
                under_way.set_result(None)

        def read() -> None:
            outcome: Reading | Exception
            try:
                outcome = self._source.read(pids)
            except Exception as error:
                outcome = error
            with suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(end, outcome)

        threading.Thread(target=read, name="read resources", daemon=True).start()
        return under_way


class _Taken:
    """A reading, of whom, and when it was there."""

    def __init__(self, reading: Reading, pids: frozenset[int], at: float) -> None:
        self.reading = reading
        self.pids = pids
        self.at = at
