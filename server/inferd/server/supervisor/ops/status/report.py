"""The status document, made of what was observed, counted and read. Decides nothing, asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from inferd.core.link.messages import VersionLoad, VersionState
from inferd.core.telemetry.figures import figures
from inferd.core.telemetry.metrics import SECONDS
from inferd.core.telemetry.sample import Sample, cpu_of, watts_of
from inferd.core.telemetry.status import (
    Consumption,
    GatewayStatus,
    GpuStatus,
    ProcessUse,
    ServerStatus,
    Status,
    Totals,
    VersionStatus,
    WorkerStatus,
)
from inferd.server.supervisor.ops.observation import Observation, WorkerView
from inferd.server.supervisor.ops.status.tally import Tally
from inferd.server.supervisor.resources.gpus import GpuReading

Number = TypeVar("Number", int, float)

_NOBODY = Totals()


@dataclass(frozen=True, slots=True)
class Report:
    """One look: what was observed `now`, beside an `earlier` sample."""

    seen: Observation
    tally: Tally
    earlier: Sample
    now: Sample

    def status(self, server: ServerStatus) -> Status:
        """The document; `server` is told beside it."""
        return Status(
            window=self.now.at - self.earlier.at,
            bounds=SECONDS,
            server=server,
            gateways=tuple(self._gateways()),
            models=tuple(self._models()),
            gpus=tuple(map(_gpu, self.seen.reading.gpus)),
        )

    def use_of(self, pid: int) -> ProcessUse:
        """What one process uses."""
        found = self.seen.reading.processes.get(pid)
        if found is None:
            return ProcessUse(pid=pid)
        return ProcessUse(
            pid=pid,
            cpu_seconds=found.cpu_seconds,
            cpu=cpu_of((pid,), self.earlier, self.now),
            memory_bytes=_memory(found.proportional_bytes, found.resident_bytes),
        )

    def _gateways(self) -> Iterator[GatewayStatus]:
        for each in self.seen.gateways:
            yield GatewayStatus(
                name=each.name,
                up=each.up,
                restarts=self.tally.of_gateway(each.name),
                lag_seconds=each.lag,
                use=self.use_of(each.pid) if each.pid is not None else None,
            )

    def _models(self) -> Iterator[VersionStatus]:
        loads = {(each.model, each.version): each for each in self.seen.loads}
        for model, state in self.seen.states:
            load = loads.get((model, state.version), VersionLoad(model, state.version, 0, 0.0, 0))
            yield self._version(model, state, load)

    def _version(self, model: str, state: VersionState, load: VersionLoad) -> VersionStatus:
        key = model, state.version
        views = [each for each in self.seen.workers if (each.model, each.version) == key]
        workers = tuple(map(self._worker, views))
        totals = self.now.totals.get(key, _NOBODY)
        before = self.earlier.totals.get(key, _NOBODY)
        return VersionStatus(
            model=model,
            version=state.version,
            state=state.state,
            reason=state.reason,
            up=sum(each.up for each in workers),
            instances=len(workers),
            devices=tuple(dict.fromkeys(each.device for each in workers)),
            restarts=self.tally.of_workers(*key),
            queued=load.queued,
            queue_age=load.age,
            in_flight=load.in_flight,
            figures=figures(before, totals, self.now.at - self.earlier.at, SECONDS),
            consumption=self._consumption(workers),
            totals=totals,
            workers=workers,
        )

    def _worker(self, view: WorkerView) -> WorkerStatus:
        return WorkerStatus(
            instance=view.instance,
            device=view.device,
            up=view.up,
            phase=view.phase.value,
            use=self.use_of(view.pid) if view.pid is not None else None,
            gpu_memory_bytes=_gpu_memory(view.pid, self.seen.reading.gpus),
        )

    def _consumption(self, workers: Sequence[WorkerStatus]) -> Consumption:
        uses = [each.use for each in workers if each.use is not None]
        pids = {each.pid for each in uses}
        own = [
            watts_of(each.uuid, self.earlier, self.now)
            for each in self.seen.reading.gpus
            if each.processes and pids.issuperset(each.processes)
        ]
        return Consumption(
            cpu=cpu_of(pids, self.earlier, self.now),
            memory_bytes=_sum(each.memory_bytes for each in uses),
            gpu_memory_bytes=_sum(each.gpu_memory_bytes for each in workers),
            watts=_sum(own),
        )


def _gpu_memory(pid: int | None, gpus: Iterable[GpuReading]) -> int | None:
    return _sum(each.processes[pid] for each in gpus if pid is not None and pid in each.processes)


def _gpu(gpu: GpuReading) -> GpuStatus:
    return GpuStatus(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        lost=gpu.lost,
        memory_used=gpu.memory_used,
        memory_total=gpu.memory_total,
        utilization=gpu.utilization,
        power_watts=gpu.power_watts,
        energy_joules=gpu.energy_joules,
        temperature=gpu.temperature,
        pids=tuple(sorted(gpu.processes)),
    )


def _memory(proportional: int | None, resident: int) -> int:
    return resident if proportional is None else proportional


def _sum(values: Iterable[Number | None]) -> Number | None:
    """Of those that are known; None where none is."""
    known = [each for each in values if each is not None]
    return sum(known) if known else None
