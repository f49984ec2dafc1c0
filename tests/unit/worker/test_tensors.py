"""Slots seen as tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inferd.core.link.arena import Arena
from inferd.core.link.messages import SlotTensor
from inferd.wire.dtypes import DATATYPES
from inferd.wire.tensors import encode_bytes
from inferd.worker.tensors import DATATYPE_NAMES, DTYPES, SlotMemory

ARENA = 1 << 16


@pytest.fixture
def arena() -> Iterator[Arena]:
    """The gateway's side."""
    with Arena(ARENA) as arena:
        yield arena


@pytest.fixture
def memory(arena: Arena) -> Iterator[SlotMemory]:
    """The worker's side of the same memory."""
    memory = SlotMemory(arena.fd, ARENA)
    yield memory
    memory.close()


def test_every_datatype_but_bytes_has_a_torch_dtype_of_its_size() -> None:
    """The two tables agree, so that no datatype is refused or misread."""
    assert DTYPES.keys() == DATATYPES.keys() - {"BYTES"}
    assert {name: dtype.itemsize for name, dtype in DTYPES.items()} == {
        name: DATATYPES[name].itemsize for name in DTYPES
    }
    assert {DATATYPE_NAMES[dtype] for dtype in DTYPES.values()} == DTYPES.keys()


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_a_view_reads_and_writes_the_arena(arena: Arena, memory: SlotMemory, datatype: str) -> None:
    """A slot's tensor is the arena's memory, byte for byte, without a copy."""
    size = 6 * DATATYPES[datatype].itemsize
    raw = bytes(i % 2 for i in range(size))
    arena.cells[128 : 128 + size] = raw
    tensor = memory.read(SlotTensor(datatype, (2, 3), 128, size))
    assert isinstance(tensor, torch.Tensor)
    assert (tensor.shape, tensor.dtype) == ((2, 3), DTYPES[datatype])
    assert bytes(tensor.reshape(-1).view(torch.uint8).numpy()) == raw
    tensor.zero_()
    assert bytes(arena.cells[128 : 128 + size]) == bytes(size)


def test_views_see_what_is_written_later(arena: Arena, memory: SlotMemory) -> None:
    """A view that is found again shows the new batch, not the old one."""
    slot = SlotTensor("INT32", (2,), 0, 8)
    for number in (1, 2):
        arena.cells[:8] = np.full(2, number, np.int32).tobytes()
        tensor = memory.read(slot)
        assert isinstance(tensor, torch.Tensor)
        assert tensor.tolist() == [number, number]


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0, 2)])
def test_an_empty_tensor_keeps_its_shape(memory: SlotMemory, shape: tuple[int, ...]) -> None:
    """Tensors without elements are tensors too, even where the arena ends."""
    view = memory.view("FP32", shape, ARENA)
    assert tuple(view.shape) == shape


def test_a_scalar_has_no_dimensions(arena: Arena, memory: SlotMemory) -> None:
    """Rank 0 is a shape of its own."""
    arena.cells[:8] = np.float64(2.5).tobytes()
    view = memory.view("FP64", (), 0)
    assert view.shape == ()
    assert view.item() == 2.5


@pytest.mark.parametrize("offset", [ARENA - 12, ARENA, -64])
def test_nothing_reaches_beyond_the_arena(memory: SlotMemory, offset: int) -> None:
    """A slot outside the arena is refused before anything is touched."""
    with pytest.raises(ValueError, match="does not fit in an arena"):
        memory.view("FP32", (4,), offset)


def test_bytes_come_as_objects(arena: Arena, memory: SlotMemory) -> None:
    """Elements keep their zeros and their emptiness, and their shape."""
    elements = [b"a\0", b"", b"\xff" * 300, b"d"]
    raw = encode_bytes(elements)
    arena.cells[64 : 64 + len(raw)] = raw
    array = memory.read(SlotTensor("BYTES", (2, 2), 64, len(raw)))
    assert isinstance(array, np.ndarray)
    assert array.shape == (2, 2)
    assert array.dtype == np.object_
    assert array.reshape(-1).tolist() == elements


def test_broken_bytes_are_refused(arena: Arena, memory: SlotMemory) -> None:
    """A length that points beyond the slot does not read a neighbour's memory."""
    arena.cells[:8] = b"\xff\0\0\0abcd"
    with pytest.raises(ValueError, match="beyond the data"):
        memory.read(SlotTensor("BYTES", (1,), 0, 8))


def test_a_kept_tensor_outlives_the_arena(arena: Arena) -> None:
    """A model that keeps its input must not crash the process when the gateway goes."""
    memory = SlotMemory(arena.fd, ARENA)
    arena.cells[:4] = np.int32(7).tobytes()
    kept = memory.view("INT32", (1,), 0)
    memory.close()
    assert kept.tolist() == [7]
