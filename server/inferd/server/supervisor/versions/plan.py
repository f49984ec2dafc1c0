"""What it takes to serve a model: for each version selected, its source, its workers, its queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from inferd.core.link.messages import ModelSource, Pinning
from inferd.core.settings import ModelOverride
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.replicas.placement import PlacementError, place
from inferd.server.supervisor.repository.model_toml import Declaration
from inferd.server.supervisor.repository.scan import FoundModel
from inferd.server.supervisor.repository.source import SourceRefused, source_of
from inferd.server.supervisor.versions.policy import selected


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """How requests wait for a deployment; `max_delay` in seconds.

    Of those that are answered by generators, `max_streams` run side by side in one worker.
    """

    max_size: int
    max_delay: float
    max_streams: int = 64


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """How to serve one version."""

    version: int
    source: ModelSource
    pinnings: tuple[Pinning, ...]
    queue: QueueTerms


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a version cannot be served."""

    version: int
    reason: str


def plan(
    model: FoundModel, override: ModelOverride, *, devices: Sequence[str], machine: Machine
) -> tuple[VersionPlan | Obstacle, ...]:
    """How to serve each version selected, in ascending order; reads files, for the pre-flight.

    `devices` are those of models that name none. A model of which nothing can be served has an
    obstacle per version found, or one for version 1 if there is none.
    """
    known = {version.version: version for version in model.versions}
    declaration = model.declaration.under(override)
    nothing = sorted(known) or [1]
    if model.problem is not None:
        return tuple(Obstacle(version, model.problem) for version in nothing)
    try:
        chosen = selected(known, declaration.versions)
        pinnings = _pinnings(declaration, devices, machine)
    except (PlacementError, ValueError) as error:
        return tuple(Obstacle(version, str(error)) for version in nothing)
    queue = QueueTerms(
        declaration.max_queue_size, declaration.max_queue_delay, declaration.max_streams
    )
    plans: list[VersionPlan | Obstacle] = []
    for number in chosen:
        try:
            source = source_of(model, known[number], declaration, override)
            plans.append(VersionPlan(number, source, pinnings, queue))
        except SourceRefused as refused:
            plans.append(Obstacle(number, str(refused)))
    return tuple(plans)


def cpu_workers(
    models: Iterable[FoundModel],
    override: Callable[[str], ModelOverride],
    *,
    devices: Sequence[str],
    machine: Machine,
) -> int:
    """How many workers these models will have on the CPU; reads no file."""
    workers = 0
    for model in models:
        declaration = model.declaration.under(override(model.name))
        known = [version.version for version in model.versions]
        with suppress(PlacementError, ValueError):
            versions = len(selected(known, declaration.versions))
            placed = _pinnings(declaration, devices, machine)
            workers += versions * sum(each.device == "cpu" for each in placed)
    return workers


def _pinnings(
    declaration: Declaration, devices: Sequence[str], machine: Machine
) -> tuple[Pinning, ...]:
    return place(
        devices if declaration.devices is None else declaration.devices,
        instances=declaration.instances,
        threads=declaration.threads,
        machine=machine,
    )
