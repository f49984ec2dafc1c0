"""Metrics as text for Prometheus: one registry, filled anew for each scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.instruments import Instruments
from inferd.server.supervisor.ops.observation import Observation

Show = Callable[[Observation, Families], None]
"""Adds the series of one subject."""


class Exposition:
    """What a scrape is answered with. Safe from any thread."""

    def __init__(self, subjects: Sequence[Show]) -> None:
        """`subjects` are shown one after the other; incidents come first."""
        self._registry = CollectorRegistry()
        self.instruments = Instruments(self._registry)
        self._collector = _Observed(subjects)
        self._registry.register(self._collector)
        self._lock = threading.Lock()

    def render(self, observation: Observation, accept: str) -> tuple[bytes, str]:
        """The text, in a format that the `Accept` header names, and its content type.

        OpenMetrics costs half as much again as plain text. Prometheus takes both and prefers it, for
        exemplars: it gets it when there is one.
        """
        plain = "text/plain" in accept and all(each.exemplar is None for each in observation.counts)
        encode, content_type = choose_encoder("text/plain" if plain else accept)
        with self._lock:
            self._collector.observation = observation
            return encode(self._registry), content_type


class _Observed(Collector):
    def __init__(self, subjects: Sequence[Show]) -> None:
        self.observation: Observation | None = None
        self._subjects = subjects

    def describe(self) -> Iterable[PrometheusMetric]:
        """Nothing: the registry would collect to find out what there is."""
        return ()

    def collect(self) -> Iterator[PrometheusMetric]:
        """The families of every subject."""
        families = Families()
        if self.observation is not None:
            for show in self._subjects:
                show(self.observation, families)
        yield from families
