"""What waits in one lane."""

from __future__ import annotations

from collections import deque

from inferd.server.gateway.scheduling.pending import Piece


class LanePieces:
    """The pieces of one lane, oldest first, and how many rows they have."""

    __slots__ = ("pieces", "rows")

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        self.rows = 0
