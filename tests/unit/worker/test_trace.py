"""What a model may ask about the trace of its batch."""

from __future__ import annotations

from collections.abc import Iterator

from inferd.worker.runner.trace import Current

IDS = bytes(range(24))


class BatchEnds(Current):
    """After one look at the ids the worker goes on to a batch that is not traced."""

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: Iterator[bytes | None] = iter([IDS, None, None])

    @property
    def ids(self) -> bytes | None:  # type: ignore[override]  # another thread's next step
        """What this look finds."""
        return next(self._looks)


def test_a_model_s_own_thread_may_ask_at_any_moment() -> None:
    """It is told of one batch, not of halves of two."""
    assert BatchEnds().traceparent == f"00-{IDS[:16].hex()}-{IDS[16:].hex()}-01"
