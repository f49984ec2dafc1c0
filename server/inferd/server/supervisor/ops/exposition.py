"""Metrics as text for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics

from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.instruments import Instruments
from inferd.server.supervisor.ops.observation import Observation

Show = Callable[[Observation, Families], None]
"""Adds the series of one subject."""


class Exposition:
    """What a scrape is answered with. Safe from any thread."""

    def __init__(self, subjects: Sequence[Show]) -> None:
        """`subjects` are shown one after the other, and incidents after them."""
        self._registry = CollectorRegistry()
        self.instruments = Instruments(self._registry)
        self._subjects = subjects
        self._lock = threading.Lock()
        self._plain = Families(exposition.generate_latest)
        self._open = Families(openmetrics.generate_latest)

    def render(self, observation: Observation, accept: str) -> tuple[bytes, str]:
        """The text, in a format that the `Accept` header names, and its content type.

        OpenMetrics costs half as much again as plain text. Prometheus takes both and prefers it, for
        exemplars: it gets it when there is one.
        """
        _, wanted = exposition.choose_encoder(accept)
        plain = "text/plain" in accept and all(each.exemplar is None for each in observation.counts)
        with self._lock:
            if plain or not wanted.startswith("application/openmetrics-text"):
                text = self._shown(observation, self._plain)
                text += exposition.generate_latest(self._registry)
                return text, exposition.CONTENT_TYPE_PLAIN_0_0_4
            text = self._shown(observation, self._open)
            # It writes the end, too.
            text += openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST

    def _shown(self, observation: Observation, families: Families) -> bytes:
        for show in self._subjects:
            show(observation, families)
        return families.text()
