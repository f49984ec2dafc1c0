"""The device a worker runs on, as torch sees it."""

from __future__ import annotations

import torch

from inferd.core.link.messages import Pinning
from inferd.core.telemetry import logs
from inferd.wire.errors import LoadFailed

_log = logs.get_logger(__name__)

_SUCCESS = 0  # cudaSuccess


def acquire(pinning: Pinning) -> torch.device:
    """The device that this process was pinned to, with torch set to the pinned thread count.

    A GPU is `cuda:0`, the only one that `bootstrap.pin` left visible.

    Raises `LoadFailed` when the device cannot be used.
    """
    torch.set_num_threads(pinning.threads)
    torch.set_num_interop_threads(1)
    if pinning.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise LoadFailed(
            f"device '{pinning.device}' is not to be had: torch {torch.__version__} finds no usable "
            f'CUDA device; check the driver, or set `devices` to "cpu"'
        )
    device = torch.device("cuda:0")
    torch.cuda.set_device(device)
    return device


class PinnedMemory:
    """Host memory that the GPU may read and write by itself, hence without a copy in between.

    The memory must stay mapped until `release`. Where CUDA refuses (locked memory may be limited),
    copies still work, only slower.
    """

    def __init__(self, address: int, nbytes: int) -> None:
        """Register `nbytes` bytes from `address` on with CUDA."""
        self._address = address
        code = int(torch.cuda.cudart().cudaHostRegister(address, nbytes, 0))
        self._registered = code == _SUCCESS
        if not self._registered:
            _log.warning("an arena could not be pinned; copies are slower", bytes=nbytes, code=code)

    def release(self) -> None:
        """Let go of it; only when no copy from or to it is under way."""
        if self._registered:
            code = int(torch.cuda.cudart().cudaHostUnregister(self._address))
            if code != _SUCCESS:
                _log.error("an arena could not be unpinned", code=code)
