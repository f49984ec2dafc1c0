"""The memory of one link: arenas that grow with the batches, slots in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from inferd.core.link.arena import ALIGNMENT, Arena, aligned
from inferd.core.link.messages import CloseArena, OpenArena
from inferd.server.gateway.scheduling.lane import LaneInput
from inferd.server.gateway.scheduling.pending import Piece
from inferd.server.gateway.scheduling.queue import Batch
from inferd.wire.errors import ArenaFull

_SMALLEST_ARENA = 1 << 20

JOIN_LIMIT = 4096
"""Up to this many bytes a row, copying them together is quicker than a view of each."""


class ArenaMessenger(Protocol):
    """What tells the worker of arenas: the link's socket."""

    def send(self, message: OpenArena | CloseArena, fds: tuple[int, ...] = ()) -> None:
        """Send one message and descriptors beside it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """`nbytes` bytes from `offset` on in arena number `arena`."""

    arena: int
    offset: int
    nbytes: int
    cells: memoryview


class Arenas:
    """Slots for the batches of one worker.

    An arena cannot grow, so one that proves too small is followed by a larger one and closed when
    its last slot is free. Only this side allocates and frees.
    """

    def __init__(self, link: ArenaMessenger, *, limit: int) -> None:
        """`limit` in bytes is for all arenas of the link together."""
        self._link = link
        self._limit = limit
        self._arenas: dict[int, Arena] = {}
        self._current = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arenas."""
        return sum(arena.nbytes for arena in self._arenas.values())

    def allocate(self, nbytes: int) -> Slot:
        """A slot of `nbytes`, in a new arena if need be. Raises `ArenaFull`."""
        current = self._arenas.get(self._current)
        offset = None if current is None else current.allocate(nbytes)
        if current is None or offset is None:
            current = self._open(max(ALIGNMENT, aligned(nbytes)))
            offset = current.allocate(nbytes)
            if offset is None:
                raise AssertionError(f"an arena of {current.nbytes} bytes refused {nbytes}")
        return Slot(self._current, offset, nbytes, current.cells)

    def free(self, slot: Slot) -> None:
        """Give a slot back; nobody reads or writes it any more."""
        arena = self._arenas[slot.arena]
        arena.free(slot.offset)
        if slot.arena != self._current and arena.idle:
            self._close(slot.arena)

    def close(self) -> None:
        """Unmap everything; the worker is gone or has no batch."""
        for arena in self._arenas.values():
            arena.close()
        self._arenas.clear()

    def _open(self, nbytes: int) -> Arena:
        current = self._arenas.get(self._current)
        if current is not None and current.idle:
            self._close(self._current)
        # Twice the need: the next batch may be placed before this one has left.
        wanted = max(_SMALLEST_ARENA, 1 << (2 * nbytes - 1).bit_length())
        room = self._limit - self.nbytes
        size = min(wanted, room)
        if size < nbytes:
            raise ArenaFull(
                f"the tensors need {nbytes} bytes shared with the worker, {max(0, room)} are left "
                f"of {self._limit}; send smaller batches or raise max_arena_bytes"
            )
        try:
            arena = Arena(size)
        except MemoryError as error:
            raise ArenaFull(f"the system has no {size} bytes for the tensors") from error
        self._current += 1
        self._arenas[self._current] = arena
        self._link.send(OpenArena(self._current, arena.nbytes), (arena.fd,))
        return arena

    def _close(self, number: int) -> None:
        self._arenas.pop(number).close()
        self._link.send(CloseArena(number))


def column_nbytes(batch: Batch, index: int, spec: LaneInput | None) -> int:
    """Bytes of one input's rows together."""
    if spec is None:
        return 0
    if spec.datatype != "BYTES":
        return spec.row_nbytes * batch.rows
    return sum([len(piece.buffers[index] or b"") for piece in batch.pieces])


def place(cells: memoryview, at: int, pieces: list[Piece], index: int, size: int) -> None:
    """Copy one input's rows next to each other into the slot."""
    buffers = [piece.buffers[index] or b"" for piece in pieces]
    if len(buffers) > 1 and size <= JOIN_LIMIT * len(buffers):
        cells[at : at + size] = b"".join(buffers)
        return
    for buffer in buffers:
        end = at + len(buffer)
        cells[at:end] = buffer
        at = end
