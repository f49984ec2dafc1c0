"""Slots of an arena as torch tensors, and the names of torch's dtypes in the protocol."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from inferd.core.link.arena import ArenaMapping
from inferd.core.link.messages import SlotTensor
from inferd.wire.dtypes import DATATYPES
from inferd.wire.tensors import decode_bytes
from inferd.worker.model import Array, Value

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
    "BF16": torch.bfloat16,
}
"""The torch dtype of every datatype but BYTES, whose elements torch does not have."""

DATATYPE_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}
"""The protocol's datatype of a torch dtype; complex, quantised and 8-bit floats have none."""

_MOST_VIEWS = 4096


class SlotMemory:
    """An arena of one gateway, seen as tensors that share its memory.

    The gateway comes back to the same few slots, so views are kept: finding one again costs a
    tenth of making it.
    """

    def __init__(self, fd: int, nbytes: int) -> None:
        """Map the arena `fd`, which stays the caller's to close. Raises `ValueError` like it."""
        self._mapping = ArenaMapping(fd, nbytes)
        # A view of our own: tensors hold on to it, so the memory outlives `close` until the last
        # tensor that some model kept is gone. Never released by hand: they would dangle.
        self._cells = memoryview(self._mapping.cells)
        self._views: dict[tuple[str, tuple[int, ...], int], torch.Tensor] = {}
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        """Where the memory begins in this process."""
        return torch.frombuffer(self._cells, dtype=torch.uint8).data_ptr()

    def view(self, datatype: str, shape: tuple[int, ...], offset: int) -> torch.Tensor:
        """The tensor at `offset`; writing to it writes to the arena. Not for BYTES.

        Raises `ValueError` if it would reach beyond the arena.
        """
        key = (datatype, shape, offset)
        found = self._views.get(key)
        if found is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            found = self._views[key] = self._make_view(datatype, shape, offset)
        return found

    def read(self, slot: SlotTensor) -> Value:
        """The tensor of a slot: a view, or a copy of its elements for BYTES.

        Raises `ValueError` if the slot does not hold what it says.
        """
        if slot.datatype != "BYTES":
            return self.view(slot.datatype, slot.shape, slot.offset)
        raw = self._cells[slot.offset : slot.offset + slot.nbytes]
        elements: Array = np.empty(prod(slot.shape), dtype=np.object_)
        elements[:] = decode_bytes(raw, elements.size)
        return elements.reshape(slot.shape)

    def write(self, offset: int, raw: bytes) -> None:
        """Put bytes at `offset`. Raises `ValueError` if they would reach beyond the arena."""
        self._cells[offset : offset + len(raw)] = raw

    def close(self) -> None:
        """Let go of the arena."""
        self._views.clear()
        del self._cells
        self._mapping.close()

    def _make_view(self, datatype: str, shape: tuple[int, ...], offset: int) -> torch.Tensor:
        dtype, count = DTYPES[datatype], prod(shape)
        if offset < 0 or offset + count * DATATYPES[datatype].itemsize > self.nbytes:
            raise ValueError(
                f"a tensor {datatype} {list(shape)} at {offset} does not fit in an arena of "
                f"{self.nbytes} bytes"
            )
        if count == 0:  # torch makes no empty tensor from a buffer
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._cells, dtype=dtype, count=count, offset=offset).view(shape)
