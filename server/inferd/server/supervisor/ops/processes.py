"""Metrics of models, workers, gateways and the scrape itself."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

from inferd.core.telemetry import metrics
from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.observation import Observation


def show_models(seen: Observation, families: Families) -> None:
    """The state that each version is in."""
    for model, state in seen.states:
        families.add(metrics.MODEL_STATE, (model, str(state.version), state.state), 1)


def show_processes(seen: Observation, families: Families) -> None:
    """Which workers and gateways are up, and how late event loops come round."""
    for worker in seen.workers:
        labels = worker.model, str(worker.version), str(worker.instance), worker.device
        families.add(metrics.WORKER_UP, labels, int(worker.up))
    families.add(metrics.LOOP_LAG, ("supervisor",), seen.lag)
    for gateway in seen.gateways:
        families.add(metrics.GATEWAY_UP, (gateway.name,), int(gateway.up))
        families.add(metrics.LOOP_LAG, (gateway.name,), gateway.lag)


def show_scrape(seen: Observation, families: Families) -> None:
    """What looking took, and what runs."""
    families.add(metrics.SCRAPE, (), seen.seconds)
    families.add(metrics.BUILD, (_version(), platform.python_version()), 1)


@cache
def _version() -> str:
    return version("inferd")
