"""What sends the requests: one process per run, beside the servers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from affinity import pinned
from scenarios import Scenario

_FOLDER = Path(__file__).resolve().parent

_PATIENCE = 120.0
"""Seconds that one run of the generator may take; asked for are a few."""

_MAX_GROWTH = 8
"""A warm-up grows by this factor at most: one odd run must not make the next last minutes."""


class LoadError(RuntimeError):
    """The generator failed, or not every request was answered in full: the text says which."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What `requests` calls took. `latencies` in microseconds, ascending, one per request."""

    requests: int
    requests_per_second: float
    latencies: Sequence[int]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.requests / self.requests_per_second


class Load(Protocol):
    """A load generator: closed loop, each caller sends again as soon as it has its answer."""

    name: str

    def run(
        self, address: str, scenario: Scenario, *, requests: int, answer: int, cpu: int | None
    ) -> LoadResult:
        """Send `requests` calls from core `cpu` (None: any) and wait for all answers.

        `answer` is the size in bytes of the serialised answer that each call must get. Raises
        `LoadError` unless every call got one of that size.
        """


def run_generator(command: Sequence[str], cpu: int | None) -> str:
    """Run a generator to its end; returns what it printed. Raises `LoadError`."""
    with pinned(cpu):
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_FOLDER,
            process_group=0,  # Ctrl-C is ours to handle
        )
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise LoadError(
            f"the load generator was not done after {_PATIENCE:.0f} s: the server does not "
            "answer, or --seconds asks for more than that"
        ) from error
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise LoadError(
            f"{command[0]} ended with code {process.returncode}: {(errors or output)[-2000:]}"
        )
    return output


def check_answers(requests: int, *, answered: int, received: int, expected: int) -> None:
    """Raise `LoadError` unless all requests were answered, with the bytes expected in all."""
    if answered != requests or received != expected:
        raise LoadError(
            f"{answered} of {requests} requests were answered, with {received} bytes of messages "
            f"where {expected} were expected: the server refuses requests or answers them "
            "wrongly, so this run counts for nothing"
        )


def warm_up(run: Callable[[int], LoadResult], callers: int, seconds: float) -> float:
    """Run ever more requests until a run lasts about `seconds`; returns its requests per second."""
    requests = callers * 8
    while True:
        result = run(requests)
        if result.seconds >= seconds / 2:
            return result.requests_per_second
        guess = int(result.requests_per_second * seconds)
        requests = min(max(guess, 2 * requests), _MAX_GROWTH * requests)
