"""How often workers and gateways were lost, for whoever asks for the number."""

from __future__ import annotations

from collections import Counter

from inferd.server.supervisor.incidents import Cause, Incidents


class Tally(Incidents):
    """Counts restarts and passes on everything that it hears."""

    def __init__(self, further: Incidents) -> None:
        """`further` hears of each incident, too."""
        self._further = further
        self._workers: dict[tuple[str, int], Counter[str]] = {}
        self._gateways: Counter[str] = Counter()

    def of_workers(self, model: str, version: int) -> dict[str, int]:
        """How often workers of a version were started again, by cause; without those that never were."""
        return dict(self._workers.get((model, version), ()))

    def of_gateway(self, gateway: str) -> int:
        """How often a gateway was started again."""
        return self._gateways[gateway]

    def worker_restarted(self, model: str, version: int, cause: Cause) -> None:
        """A worker that had served was lost and will be started again."""
        self._workers.setdefault((model, version), Counter())[cause] += 1
        self._further.worker_restarted(model, version, cause)

    def model_loaded(self, model: str, version: int, seconds: float) -> None:
        """A worker has loaded its model and warmed up."""
        self._further.model_loaded(model, version, seconds)

    def load_failed(self, model: str, version: int) -> None:
        """A version could not be loaded, or one of its workers could not."""
        self._further.load_failed(model, version)

    def gateway_expected(self, gateway: str) -> None:
        """There is to be a gateway of this name: from here on what befalls it is counted, from 0."""
        self._further.gateway_expected(gateway)

    def gateway_restarted(self, gateway: str) -> None:
        """A gateway was lost and will be started again."""
        self._gateways[gateway] += 1
        self._further.gateway_restarted(gateway)

    def unanswered(self, process: str) -> None:
        """A process was asked for figures and did not answer in time."""
        self._further.unanswered(process)
