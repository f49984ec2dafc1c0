"""The GPUs of this machine as NVML sees them, whichever of their figures it can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.resources.nvml import GpuLost, Nvml, NvmlUnavailable

THROTTLE_REASONS = MappingProxyType(
    {
        "clocks_setting": "nvmlClocksEventReasonApplicationsClocksSetting",
        "power_cap": "nvmlClocksEventReasonSwPowerCap",
        "hardware_slowdown": "nvmlClocksEventReasonHwSlowdown",
        "sync_boost": "nvmlClocksEventReasonSyncBoost",
        "thermal_software": "nvmlClocksEventReasonSwThermalSlowdown",
        "thermal_hardware": "nvmlClocksEventReasonHwThermalSlowdown",
        "power_brake": "nvmlClocksEventReasonHwPowerBrakeSlowdown",
        "display_clock": "nvmlClocksEventReasonDisplayClockSetting",
    }
)
"""All reasons that a reading may name for clocks below their maximum. Idleness is none of them."""

_MOST_EVENTS = 64
"""Events read of one GPU at a time: a storm of them must not hold up a reading."""

_WAIT_MS = 1
"""Events queue up in the driver, so this is only how long to look. Not 0: elsewhere in NVML that
means for ever."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment. None is a figure that the device or its driver does not have.

    `index` is NVML's, in the order of the bus. Memory is in bytes, the temperature in °C. Energy
    counts from the loading of the driver, ECC errors from its last start; `xid_errors` are those seen
    since the first reading, by number. `processes` is bytes by process id, as far as the driver tells:
    a process on a MIG instance or under WSL may be missing. Of a `lost` GPU only what was known
    before stands here.
    """

    index: int
    uuid: str
    name: str
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    temperature: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    throttle: frozenset[str] = frozenset()
    xid_errors: Mapping[int, int] = field(default_factory=dict)
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    processes: Mapping[int, int] = field(default_factory=dict)
    lost: bool = False


class Gpus:
    """Reads every GPU again and again; one that is lost does not keep the others from being read."""

    def __init__(self, library: Any = None) -> None:
        """Opens NVML, or logs once that there is none. `library` is for another than `pynvml`."""
        self._gpus: list[_Gpu] = []
        self._nvml: Nvml | None = None
        try:
            self._nvml = Nvml(library)
        except NvmlUnavailable as why:
            _log.info("GPUs are not watched: NVML is not available", reason=str(why))
            return
        for index in range(self._nvml.count()):
            if (gpu := _found(self._nvml, index)) is not None:
                self._gpus.append(gpu)
            else:
                _log.warning("a GPU cannot be asked anything and is not watched", gpu=index)

    def read(self) -> tuple[GpuReading, ...]:
        """One reading of each GPU. Asks the driver, which takes milliseconds and may take longer."""
        nvml = self._nvml
        return () if nvml is None else tuple(_read(nvml, gpu) for gpu in self._gpus)

    def close(self) -> None:
        """Let go of NVML."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            for gpu in self._gpus:
                _free(nvml, gpu.events)
            nvml.close()


@dataclass(slots=True)
class _Gpu:
    index: int
    uuid: str
    name: str
    handle: Any
    events: Any
    xid_errors: Counter[int] = field(default_factory=Counter)
    lost: bool = False


def _found(nvml: Nvml, index: int) -> _Gpu | None:
    try:
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        uuid = None if handle is None else nvml.ask("nvmlDeviceGetUUID", handle)
        if uuid is None:
            return None
        name = nvml.ask("nvmlDeviceGetName", handle) or ""
        return _Gpu(index, uuid, name, handle, _events(nvml, handle))
    except GpuLost:
        return None


def _events(nvml: Nvml, handle: Any) -> Any:
    """A set that gathers the GPU's XID errors from now on; None where it has no such events.

    One for each GPU: waiting on a set with a lost one fails for all that are in it.
    """
    events = nvml.ask("nvmlEventSetCreate")
    if events is None:
        return None
    wanted = nvml.library.nvmlEventTypeXidCriticalError
    try:
        nvml.library.nvmlDeviceRegisterEvents(handle, wanted, events)
    except nvml.library.NVMLError:
        _free(nvml, events)
        return None
    return events


def _free(nvml: Nvml, events: Any) -> None:
    if events is not None:
        try:
            nvml.ask("nvmlEventSetFree", events)
        except GpuLost:
            pass  # and its events with it


def _read(nvml: Nvml, gpu: _Gpu) -> GpuReading:
    try:
        _gather_events(nvml, gpu)
        reading = _figures(nvml, gpu)
    except GpuLost:
        if not gpu.lost:
            _log.error("a GPU is lost", gpu=gpu.index, uuid=gpu.uuid)
        gpu.lost = True
        xid_errors = dict(gpu.xid_errors)
        return GpuReading(gpu.index, gpu.uuid, gpu.name, xid_errors=xid_errors, lost=True)
    if gpu.lost:
        _log.info("a GPU that was lost answers again", gpu=gpu.index, uuid=gpu.uuid)
    gpu.lost = False
    return reading


def _gather_events(nvml: Nvml, gpu: _Gpu) -> None:
    if gpu.events is None:
        return
    for _ in range(_MOST_EVENTS):
        event = nvml.ask("nvmlEventSetWait_v2", gpu.events, _WAIT_MS)
        if event is None:  # there are no more
            return
        if event.eventType == nvml.library.nvmlEventTypeXidCriticalError:
            gpu.xid_errors[int(event.eventData)] += 1


def _figures(nvml: Nvml, gpu: _Gpu) -> GpuReading:
    ask, library, handle = nvml.ask, nvml.library, gpu.handle
    rates = ask("nvmlDeviceGetUtilizationRates", handle)
    # As nvidia-smi has it: the second form leaves out what the driver keeps for itself.
    memory = ask("nvmlDeviceGetMemoryInfo", handle, library.nvmlMemory_v2) or ask(
        "nvmlDeviceGetMemoryInfo", handle
    )
    milliwatts = ask("nvmlDeviceGetPowerUsage", handle)
    millijoules = ask("nvmlDeviceGetTotalEnergyConsumption", handle)
    corrected, uncorrected = (
        ask("nvmlDeviceGetTotalEccErrors", handle, kind, library.NVML_VOLATILE_ECC)
        for kind in (
            library.NVML_MEMORY_ERROR_TYPE_CORRECTED,
            library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        )
    )
    return GpuReading(
        gpu.index,
        gpu.uuid,
        gpu.name,
        utilization=None if rates is None else rates.gpu / 100,
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        power_watts=None if milliwatts is None else milliwatts / 1e3,
        energy_joules=None if millijoules is None else millijoules / 1e3,
        temperature=_temperature(nvml, handle),
        sm_clock_hertz=_clock(nvml, handle, library.NVML_CLOCK_SM),
        memory_clock_hertz=_clock(nvml, handle, library.NVML_CLOCK_MEM),
        throttle=_throttle(nvml, handle),
        xid_errors=dict(gpu.xid_errors),
        ecc_corrected=corrected,
        ecc_uncorrected=uncorrected,
        processes=_processes(nvml, handle),
    )


def _temperature(nvml: Nvml, handle: Any) -> float | None:
    sensor = nvml.library.NVML_TEMPERATURE_GPU
    degrees = nvml.ask("nvmlDeviceGetTemperatureV", handle, sensor)
    if degrees is None:  # the old form, which newer drivers are about to drop
        degrees = nvml.ask("nvmlDeviceGetTemperature", handle, sensor)
    return None if degrees is None else float(degrees)


def _clock(nvml: Nvml, handle: Any, kind: int) -> float | None:
    megahertz = nvml.ask("nvmlDeviceGetClockInfo", handle, kind)
    return None if megahertz is None else megahertz * 1e6


def _throttle(nvml: Nvml, handle: Any) -> frozenset[str]:
    reasons = nvml.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # drivers before 535 know it by its old name, with the same bits
        reasons = nvml.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0
    library = nvml.library
    return frozenset(
        name for name, bit in THROTTLE_REASONS.items() if reasons & getattr(library, bit)
    )


def _processes(nvml: Nvml, handle: Any) -> dict[int, int]:
    found = nvml.ask("nvmlDeviceGetComputeRunningProcesses_v3", handle)
    if found is None:
        found = nvml.ask("nvmlDeviceGetComputeRunningProcesses_v2", handle) or ()
    memory: Counter[int] = Counter()
    for process in found:
        # Id 0 is a process of another namespace; a MIG instance may be one of several of a process.
        if process.pid and process.usedGpuMemory is not None:
            memory[process.pid] += process.usedGpuMemory
    return dict(memory)
