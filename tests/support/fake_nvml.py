"""NVML as `pynvml` offers it, over GPUs that a test makes up. Constants and errors are the real ones."""

# ruff: noqa: D102, N802 - the functions are NVIDIA's, and so are their names and what they do

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Concatenate, ParamSpec, TypeVar

import pynvml

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass
class FakeGpu:
    """One GPU. A figure of None is one that the device does not support."""

    uuid: str
    utilization: int | None = 50
    memory: tuple[int, int] | None = (1 << 30, 80 << 30)
    """Used and total, in bytes."""
    milliwatts: int | None = 250_000
    millijoules: int | None = 7_000_500
    degrees: int | None = 61
    sm_megahertz: int | None = 1980
    memory_megahertz: int | None = 2619
    throttle: int | None = 0
    ecc: tuple[int, int] | None = (3, 1)
    """Corrected and uncorrected."""
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    has_events: bool = True
    lost: bool = False
    events: deque[tuple[int, int]] = field(default_factory=deque)
    """Kinds of event and their data, not yet read."""


def _of_a_gpu(
    answer: Callable[Concatenate[FakeNvml, FakeGpu, Asked], Answer],
) -> Callable[Concatenate[FakeNvml, FakeGpu, Asked], Answer]:
    """What the library checks before it answers a question about a GPU."""

    def check(self: FakeNvml, gpu: FakeGpu, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        self.require_open()
        if gpu.lost:
            raise pynvml.NVMLError_GpuIsLost
        return answer(self, gpu, *args, **kwargs)

    return check


class FakeNvml:
    """Takes the place of the module `pynvml`.

    `driver` False is a machine without NVIDIA's driver; `old` is a driver of before 535: functions
    that came later are not found.
    """

    def __init__(self, *gpus: FakeGpu, driver: bool = True, old: bool = False) -> None:
        self.gpus = gpus
        self.driver = driver
        self.old = old
        self.openings = 0
        """How often it was opened and not closed."""
        self.event_sets = 0
        """How many were made and not freed."""

    def __getattr__(self, name: str) -> Any:
        """Constants and errors. No function that is not made up here reaches the real library."""
        value = getattr(pynvml, name)
        if callable(value) and not isinstance(value, type):
            raise AttributeError(f"the fake has no function {name}")  # noqa: TRY004 - what hasattr asks for
        return value

    def require_open(self) -> None:
        """As every function does."""
        if not self.openings:
            raise pynvml.NVMLError_Uninitialized

    def nvmlInit(self) -> None:
        if not self.driver:
            raise pynvml.NVMLError_LibraryNotFound
        self.openings += 1

    def nvmlShutdown(self) -> None:
        self.require_open()
        self.openings -= 1

    def nvmlDeviceGetCount(self) -> int:
        self.require_open()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        self.require_open()
        if self.gpus[index].lost:
            raise pynvml.NVMLError_GpuIsLost
        return self.gpus[index]

    @_of_a_gpu
    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    @_of_a_gpu
    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return "NVIDIA Fake"

    @_of_a_gpu
    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=_supported(gpu.utilization), memory=0)

    @_of_a_gpu
    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu, version: int | None = None) -> SimpleNamespace:
        if version is not None:
            self._since_535()
        used, total = _supported(gpu.memory)
        return SimpleNamespace(used=used, total=total, free=total - used)

    @_of_a_gpu
    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        return _supported(gpu.milliwatts)

    @_of_a_gpu
    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        return _supported(gpu.millijoules)

    @_of_a_gpu
    def nvmlDeviceGetTemperatureV(self, gpu: FakeGpu, sensor: int) -> int:
        self._since_535()
        return self.nvmlDeviceGetTemperature(gpu, sensor)

    @_of_a_gpu
    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return _supported(gpu.degrees)

    @_of_a_gpu
    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:
        clocks = {
            pynvml.NVML_CLOCK_SM: gpu.sm_megahertz,
            pynvml.NVML_CLOCK_MEM: gpu.memory_megahertz,
        }
        return _supported(clocks[kind])

    @_of_a_gpu
    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:
        self._since_535()
        return _supported(gpu.throttle)

    @_of_a_gpu
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: FakeGpu) -> int:
        return _supported(gpu.throttle)

    @_of_a_gpu
    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, counter: int) -> int:
        assert counter == pynvml.NVML_VOLATILE_ECC
        return _supported(gpu.ecc)[kind]

    @_of_a_gpu
    def nvmlDeviceGetComputeRunningProcesses_v3(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        self._since_535()
        return self.nvmlDeviceGetComputeRunningProcesses_v2(gpu)

    @_of_a_gpu
    def nvmlDeviceGetComputeRunningProcesses_v2(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.processes]

    def nvmlEventSetCreate(self) -> list[FakeGpu]:
        self.require_open()
        self.event_sets += 1
        return []

    def nvmlEventSetFree(self, events: list[FakeGpu]) -> None:
        self.require_open()
        self.event_sets -= 1

    @_of_a_gpu
    def nvmlDeviceRegisterEvents(self, gpu: FakeGpu, kinds: int, events: list[FakeGpu]) -> None:
        if not gpu.has_events:
            raise pynvml.NVMLError_NotSupported
        events.append(gpu)

    def nvmlEventSetWait_v2(self, events: list[FakeGpu], timeout_ms: int) -> SimpleNamespace:
        self.require_open()
        assert timeout_ms < 10, "a reading that waits holds others up"
        if any(gpu.lost for gpu in events):
            raise pynvml.NVMLError_GpuIsLost
        for gpu in events:
            if gpu.events:
                kind, data = gpu.events.popleft()
                return SimpleNamespace(device=gpu, eventType=kind, eventData=data)
        raise pynvml.NVMLError_Timeout

    def _since_535(self) -> None:
        if self.old:
            raise pynvml.NVMLError_FunctionNotFound


def _supported(figure: Answer | None) -> Answer:
    if figure is None:
        raise pynvml.NVMLError_NotSupported
    return figure
