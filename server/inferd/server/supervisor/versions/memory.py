"""What the workers of each version take of the host's memory and the GPUs'."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from inferd.core.link.messages import VersionMemory
from inferd.server.supervisor.resources.memory import ServingProcess, memory_by_version, usage_of
from inferd.server.supervisor.resources.readings import Readings
from inferd.server.supervisor.versions.deployment import Deployment


class Memory:
    """Finds out what versions take, for those who ask for statistics."""

    def __init__(self, readings: Readings, alive: Callable[[], Iterable[Deployment]]) -> None:
        """`alive` lists the deployments that have workers."""
        self._readings = readings
        self._alive = alive

    async def by_version(self) -> tuple[VersionMemory, ...]:
        """What is known by now; nothing if a reading takes longer than `Readings` allows."""
        processes = serving(self._alive())
        reading = await self._readings.recent(process.pid for process in processes)
        if reading is None:
            return ()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = memory_by_version(processes, reading, visible)
        return tuple(
            VersionMemory(model, version, usage_of(taken, reading.gpus))
            for (model, version), taken in found.items()
        )


def serving(deployments: Iterable[Deployment]) -> list[ServingProcess]:
    """One for each worker that has a process, whether it loads, serves or is about to end."""
    return [
        ServingProcess(
            deployment.source.name,
            deployment.source.version,
            replica.pid,
            replica.pinning.device,
            None if replica.memory is None else replica.memory.reserved,
        )
        for deployment in deployments
        for replica in deployment.replicas
        if replica.pid is not None
    ]
