"""NVIDIA's management library (NVML), opened in one way by all who ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class NvmlUnavailable(RuntimeError):
    """There is no NVML to ask here; the message says why."""


class GpuLost(RuntimeError):
    """The GPU has fallen off the bus: no question about it is answered any more."""


class Nvml:
    """The opened library. It counts its openings: each wants its own `close`."""

    def __init__(self, library: Any = None) -> None:
        """`library` is a module with the functions of `pynvml`; None imports that one.

        Raises `NvmlUnavailable` without NVIDIA's driver or its Python binding.
        """
        if library is None:
            try:
                import pynvml  # noqa: PLC0415 - a server without GPUs need not have it
            except ImportError:
                raise NvmlUnavailable("the package nvidia-ml-py is not installed") from None
            library = pynvml
        try:
            library.nvmlInit()
        except library.NVMLError as error:
            raise NvmlUnavailable(str(error)) from None
        self.library = library

    def count(self) -> int:
        """GPUs of this machine; 0 where it does not tell."""
        try:
            return int(self.ask("nvmlDeviceGetCount") or 0)
        except GpuLost:
            return 0

    def ask(self, function: str, *arguments: object) -> Any:
        """What a function of the library answers; None where device or driver have no answer.

        So it is with functions that an older binding does not have. Raises `GpuLost`.
        """
        call = getattr(self.library, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self.library.NVMLError_GpuIsLost:
            raise GpuLost(function) from None
        except self.library.NVMLError:
            return None

    def close(self) -> None:
        """Let go of the library."""
        with suppress(self.library.NVMLError):
            self.library.nvmlShutdown()


@contextmanager
def opened(library: Any = None) -> Iterator[Nvml]:
    """The library for as long as the context lasts. Raises `NvmlUnavailable`."""
    nvml = Nvml(library)
    try:
        yield nvml
    finally:
        nvml.close()
