"""The trace that the model's code is part of at the moment."""

from __future__ import annotations

_TRACE_ID = 16
"""Bytes; those of the span's id follow."""


class Current:
    """`ids` are set before the model runs, for each batch anew: a worker runs one at a time."""

    __slots__ = ("ids",)

    def __init__(self) -> None:
        self.ids: bytes | None = None

    @property
    def traceparent(self) -> str | None:
        """The same in words (W3C Trace Context, section 3.2: version, ids, the flag that it is sampled)."""
        ids = self.ids  # once: a model may ask on a thread of its own, while the next batch begins
        if ids is None:
            return None
        return f"00-{ids[:_TRACE_ID].hex()}-{ids[_TRACE_ID:].hex()}-01"


current = Current()
