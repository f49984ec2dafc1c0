"""What befalls the server's processes and models, for whoever counts it."""

from __future__ import annotations

from typing import Literal

Cause = Literal["exit", "signal", "timeout"]
"""Why a worker was started again: it ended by itself, by a signal (ours where a gateway gave it up), or it
took too long to load."""


class Incidents:
    """Hears of each; this one takes no notice."""

    def worker_restarted(self, model: str, version: int, cause: Cause) -> None:
        """A worker that had served was lost and will be started again."""

    def model_loaded(self, model: str, version: int, seconds: float) -> None:
        """A worker has loaded its model and warmed up."""

    def load_failed(self, model: str, version: int) -> None:
        """A version could not be loaded, or one of its workers could not."""

    def gateway_expected(self, gateway: str) -> None:
        """There is to be a gateway of this name: from here on what befalls it is counted, from 0."""

    def gateway_restarted(self, gateway: str) -> None:
        """A gateway was lost and will be started again."""

    def unanswered(self, process: str) -> None:
        """A process was asked for figures and did not answer in time."""
