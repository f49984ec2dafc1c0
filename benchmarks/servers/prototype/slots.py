"""Memory that the prototype's two processes share, and what they tell each other of it."""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import asdict, dataclass

SLOTS = 2
_PAGE = 4096

HANDLE = struct.Struct("<II")
"""A batch on its way: the slot, and how many rows it has."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Bytes of a row and of its answer, the answer's shape without the batch, rows in a slot."""

    row_nbytes: int
    answer_nbytes: int
    answer_row: tuple[int, ...]
    max_batch: int

    @property
    def input_nbytes(self) -> int:
        """Of the first half of a slot; the answers follow."""
        return _whole_pages(self.max_batch * self.row_nbytes)

    @property
    def slot_nbytes(self) -> int:
        """Of both halves."""
        return self.input_nbytes + _whole_pages(self.max_batch * self.answer_nbytes)

    def write(self) -> bytes:
        """As one message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, message: bytes) -> Geometry:
        """What `write` wrote."""
        content = json.loads(message)
        return cls(**{**content, "answer_row": tuple(content["answer_row"])})


def map_slots(fd: int, geometry: Geometry) -> mmap.mmap:
    """All slots, every page present from the start."""
    size = SLOTS * geometry.slot_nbytes
    return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)


def _whole_pages(nbytes: int) -> int:
    return (nbytes + _PAGE - 1) // _PAGE * _PAGE
