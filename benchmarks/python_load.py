"""A Python client as the load generator: heavier, for machines without h2load."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from load import LoadResult, check_answers, run_generator
from scenarios import Scenario

_CLIENT = Path(__file__).resolve().parent / "queue_client.py"


class PythonLoad:
    """Runs `queue_client.py` in a process of its own; all callers share one connection."""

    name = "Python client on grpcio's completion queue, one connection"

    def __init__(self, folder: Path) -> None:
        """`folder` is for requests and results."""
        self._folder = folder

    def run(
        self, address: str, scenario: Scenario, *, requests: int, answer: int, cpu: int | None
    ) -> LoadResult:
        """See `Load.run`. The status of each call is checked, too."""
        payload, result = self._folder / f"{scenario.name}.request", self._folder / "result.json"
        if not payload.exists():
            payload.write_bytes(scenario.request())
        command = [sys.executable, str(_CLIENT), address, str(payload), str(result)]
        run_generator([*command, str(requests), str(scenario.callers)], cpu)
        outcome = json.loads(result.read_text())
        check_answers(
            requests,
            answered=outcome["answered"],
            received=outcome["bytes"],
            expected=requests * answer,
        )
        return LoadResult(requests, requests / outcome["seconds"], sorted(outcome["latencies_us"]))
