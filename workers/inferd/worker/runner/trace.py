"""The trace that the model's code is part of at the moment."""

from __future__ import annotations


class Current:
    """Set before the model runs, for each batch anew: a worker runs one at a time."""

    __slots__ = ("traceparent",)

    def __init__(self) -> None:
        self.traceparent: str | None = None


current = Current()
