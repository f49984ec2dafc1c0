"""A bar for a bulk job, where it was asked for."""

from __future__ import annotations

from typing import Any


class Progress:
    """Shows nothing: the progress of a job that was not to have any."""

    def advance(self) -> None:
        """One more item is answered."""

    def close(self) -> None:
        """The job has ended."""


class _Bar(Progress):
    """Counts items, with their rate; with their number known it shows the time that remains."""

    def __init__(self, model: str, total: int | None) -> None:
        from inferd.client.bulk.bar import item_bar  # noqa: PLC0415 - only here: it needs rich

        self._bar = item_bar()
        self._task = self._bar.add_task(model, total=total)
        self._bar.start()

    def advance(self) -> None:
        """One more item is answered."""
        self._bar.advance(self._task)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def open_progress(model: str, given: Any) -> Progress:
    """A bar on the terminal. Raises `ImportError` where rich is not installed."""
    total = len(given) if hasattr(given, "__len__") and not hasattr(given, "shape") else None
    try:
        return _Bar(model, None if isinstance(given, dict) else total)
    except ImportError as error:
        raise ImportError("progress=True needs rich: pip install rich") from error
