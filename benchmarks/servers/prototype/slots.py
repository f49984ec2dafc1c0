"""Memory that the prototype's two processes share, and what they tell each other of it."""

from __future__ import annotations

import mmap
import struct

SLOTS = 2
INPUT_BYTES = 2 << 20
"""Room for a batch in one slot; as much follows for the answers."""
SLOT_BYTES = 2 * INPUT_BYTES
MAX_BATCH = 64

HANDLE = struct.Struct("<II")
"""A batch on its way: the slot, and how many bytes its inputs have."""


def map_slots(fd: int) -> mmap.mmap:
    """All slots, every page present from the start."""
    return mmap.mmap(fd, SLOTS * SLOT_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)


def output_offset(slot: int) -> int:
    """Where the answers of a slot begin."""
    return slot * SLOT_BYTES + INPUT_BYTES
