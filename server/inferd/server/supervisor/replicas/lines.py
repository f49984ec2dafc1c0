"""What a model prints, cut into lines of bounded length at a bounded rate; decided without I/O."""

from __future__ import annotations

MOST_BYTES = 8 << 10
"""What is kept of a line."""

MOST_AT_ONCE = 1000
MOST_PER_SECOND = 100
"""Lines of one process, of both streams together: a thousand at once, then a hundred a second."""


class Lines:
    """Makes lines of the bytes of one stream. Holds `MOST_BYTES` at most."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = 0

    def feed(self, data: bytes, most: int) -> tuple[list[str], int]:
        """The first `most` lines that end in `data`, and how many more do.

        Blank ones are left out, though they count. Those beyond `most` cost next to nothing.
        """
        found: list[str] = []
        start = 0
        for _ in range(most):
            end = data.find(b"\n", start)
            if end < 0:
                self._keep(data[start:])
                return found, 0
            self._keep(data[start:end])
            found += self.end()
            start = end + 1
        beyond = data.count(b"\n", start)
        if beyond:
            self._clear()
            start = data.rfind(b"\n") + 1
        self._keep(data[start:])
        return found, beyond

    def end(self) -> list[str]:
        """The line that is under way, if there is one and it is not blank."""
        text = self._kept.rstrip().decode(errors="backslashreplace")
        cut = self._cut
        self._clear()
        if not text:
            return []
        return [f"{text} [cut: {cut} more bytes]" if cut else text]

    def _keep(self, piece: bytes) -> None:
        # A carriage return begins the line anew, as on a terminal: a progress bar is its last state.
        anew = piece.rfind(b"\r", 0, -1)
        if anew >= 0:
            piece = piece[anew + 1 :]
        if anew >= 0 or (piece and self._kept.endswith(b"\r")):
            self._clear()
        room = MOST_BYTES - len(self._kept)
        self._kept += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _clear(self) -> None:
        self._kept.clear()
        self._cut = 0


class Allowance:
    """How many lines may be logged: some at once, and then as many as time brings."""

    def __init__(self, now: float) -> None:
        """`now` is in seconds, as all times here."""
        self._left = float(MOST_AT_ONCE)
        self._at = now

    def left(self, now: float) -> int:
        """How many lines may be logged at `now`."""
        self._left = min(MOST_AT_ONCE, self._left + (now - self._at) * MOST_PER_SECOND)
        self._at = now
        return int(self._left)

    def use(self, lines: int) -> None:
        """So many have been."""
        self._left -= lines
