"""The arenas of one link: they grow with the batches and go when they are empty."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from inferd.core.link.messages import CloseArena, OpenArena
from inferd.server.gateway.scheduling.arenas import Arenas
from inferd.wire.errors import ArenaFull
from support.descriptors import descriptors

_MIB = 1 << 20


class Heard:
    """Remembers what the worker was told, and that every descriptor was alive then."""

    def __init__(self) -> None:
        self.messages: list[OpenArena | CloseArena] = []

    def send(self, message: OpenArena | CloseArena, fds: tuple[int, ...] = ()) -> None:
        """Keep the message."""
        for fd in fds:
            os.fstat(fd)
        self.messages.append(message)


@pytest.fixture
def heard() -> Heard:
    """A worker that hears of arenas."""
    return Heard()


@pytest.fixture
def arenas(heard: Heard) -> Iterator[Arenas]:
    """Arenas of up to 16 MiB."""
    made = Arenas(heard, limit=16 * _MIB)
    yield made
    made.close()


def test_the_first_slot_opens_an_arena(arenas: Arenas, heard: Heard) -> None:
    """It is announced before it is used, and further slots share it."""
    a, b = arenas.allocate(100), arenas.allocate(100)
    assert heard.messages == [OpenArena(1, _MIB)]
    assert (a.arena, b.arena) == (1, 1)
    assert a.offset + 100 <= b.offset
    assert a.cells[a.offset : a.offset + 100].nbytes == 100


def test_an_arena_that_proves_too_small_is_followed_by_a_larger_one(
    arenas: Arenas, heard: Heard
) -> None:
    """The old one is closed when its last slot is free, not before."""
    old, also_old = arenas.allocate(100), arenas.allocate(100)
    new = arenas.allocate(2 * _MIB)
    assert heard.messages == [OpenArena(1, _MIB), OpenArena(2, 4 * _MIB)]
    assert arenas.nbytes == 5 * _MIB
    arenas.free(old)
    assert len(heard.messages) == 2
    arenas.free(also_old)
    assert heard.messages[2:] == [CloseArena(1)]
    assert (new.arena, arenas.nbytes) == (2, 4 * _MIB)


def test_an_empty_arena_makes_room_for_a_larger_one_first(arenas: Arenas, heard: Heard) -> None:
    """The limit holds what is needed, not what was."""
    arenas.free(arenas.allocate(15 * _MIB))
    arenas.free(arenas.allocate(16 * _MIB))
    assert heard.messages == [OpenArena(1, 16 * _MIB)]
    small = Arenas(heard, limit=4 * _MIB)
    small.free(small.allocate(100))
    small.allocate(4 * _MIB)
    assert heard.messages[1:] == [OpenArena(1, _MIB), CloseArena(1), OpenArena(2, 4 * _MIB)]
    small.close()


def test_the_current_arena_stays_when_it_is_empty(arenas: Arenas, heard: Heard) -> None:
    """The next batch finds its warm pages."""
    slot = arenas.allocate(100)
    arenas.free(slot)
    assert arenas.allocate(100) == slot
    assert heard.messages == [OpenArena(1, _MIB)]


def test_the_limit_is_for_all_arenas_together(arenas: Arenas) -> None:
    """What does not fit is refused with both numbers, and what is there stays usable."""
    first = arenas.allocate(_MIB)
    arenas.allocate(12 * _MIB)
    with pytest.raises(ArenaFull, match=f"need {5 * _MIB} bytes .* of {16 * _MIB}"):
        arenas.allocate(5 * _MIB)
    arenas.free(first)
    arenas.allocate(_MIB)


def test_even_nothing_has_a_slot() -> None:
    """An empty batch is placed where there is any room at all, and refused where there is none."""
    heard = Heard()
    arenas = Arenas(heard, limit=32)
    with pytest.raises(ArenaFull):
        arenas.allocate(0)
    roomy = Arenas(heard, limit=4096)
    assert roomy.allocate(0).nbytes == 0
    roomy.close()
    arenas.close()


def test_closing_leaves_no_descriptor(heard: Heard) -> None:
    """Every memfd is gone, those in use too."""
    before = descriptors()
    arenas = Arenas(heard, limit=16 * _MIB)
    arenas.allocate(100)
    arenas.allocate(2 * _MIB)
    assert len(descriptors()) > len(before)
    arenas.close()
    assert descriptors() == before
    assert arenas.nbytes == 0
