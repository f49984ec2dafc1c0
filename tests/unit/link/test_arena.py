"""Memory shared by two processes: sealed, mapped, handed out in slots."""

from __future__ import annotations

import fcntl
import os
import resource

import numpy as np
import pytest

from inferd.core.link.arena import ALIGNMENT, Arena, ArenaMapping, aligned, available_memory
from support.descriptors import descriptors


def test_aligned_rounds_up() -> None:
    """Every offset is a multiple of the alignment."""
    assert [aligned(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]


def test_both_sides_see_the_same_bytes() -> None:
    """What the owner writes, a mapping of its descriptor reads."""
    with Arena(4096) as arena, ArenaMapping(arena.fd, 4096) as mapping:
        arena.cells[100:105] = b"hello"
        assert bytes(mapping.cells[100:105]) == b"hello"


def test_the_memory_can_neither_shrink_nor_grow() -> None:
    """Its seals keep a peer from turning our next access into a SIGBUS."""
    with Arena(4096) as arena:
        seals = fcntl.fcntl(arena.fd, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_SHRINK
        assert seals & fcntl.F_SEAL_GROW
        assert seals & fcntl.F_SEAL_SEAL
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, 0)


def test_memory_that_could_shrink_is_not_mapped() -> None:
    """A descriptor without the seal is refused."""
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    with pytest.raises(ValueError, match="not sealed"):
        ArenaMapping(fd, 4096)
    os.close(fd)


def test_memory_smaller_than_announced_is_not_mapped() -> None:
    """A peer cannot make us touch pages beyond the end."""
    with Arena(4096) as arena, pytest.raises(ValueError, match="4096 bytes, 8192 were announced"):
        ArenaMapping(arena.fd, 8192)


def test_slots_are_handed_out_first_fit() -> None:
    """The lowest gap that is large enough is taken, so the same warm pages come back."""
    with Arena(1024) as arena:
        a, b, c = arena.allocate(64), arena.allocate(128), arena.allocate(64)
        assert (a, b, c) == (0, 64, 192)
        arena.free(64)
        assert arena.allocate(192) == 256, "a gap that is too small was taken"
        assert arena.allocate(64) == 64
        assert arena.allocate(1) == 128, "the rest of the gap was not used"


def test_slots_never_overlap_and_are_aligned() -> None:
    """Slots of odd sizes begin at multiples of the alignment, and even an empty one has a place."""
    with Arena(4096) as arena:
        offsets = [arena.allocate(n) for n in (0, 1, 63, 65, 200)]
        assert offsets == [0, 64, 128, 192, 320]
        assert all(each is not None and each % ALIGNMENT == 0 for each in offsets)


def test_a_full_arena_refuses() -> None:
    """None comes back where no gap is large enough; the end of the arena counts."""
    with Arena(256) as arena:
        assert arena.allocate(257) is None
        assert arena.allocate(256) == 0
        assert arena.allocate(1) is None
        arena.free(0)
        assert arena.idle
        assert arena.allocate(256) == 0


def test_freeing_what_is_not_taken_is_an_error() -> None:
    """A slot cannot be given back twice."""
    with Arena(256) as arena:
        offset = arena.allocate(64)
        assert offset == 0
        arena.free(0)
        with pytest.raises(KeyError):
            arena.free(0)


def test_closing_frees_the_descriptor_even_while_views_live() -> None:
    """A view keeps its memory readable; the descriptor goes at once."""
    arena = Arena(4096)
    arena.cells[:3] = b"abc"
    view = arena.cells[:3]
    array = np.frombuffer(arena.cells, np.uint8)
    arena.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(arena.fd)
    assert bytes(view) == b"abc"
    assert array[:3].tobytes() == b"abc"


def test_memory_the_system_does_not_have_is_refused_when_asked_for() -> None:
    """It fails at once and leaves no descriptor; running out later would kill the process."""
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(MemoryError, match="no 2097152 bytes for an arena"):
            Arena(2 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before


def test_more_than_is_available_is_refused_before_it_is_touched() -> None:
    """Asking for more memory than there is raises; it does not call the kernel's killer."""
    with pytest.raises(MemoryError, match="available"):
        Arena(2 * available_memory())
