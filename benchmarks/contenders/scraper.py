"""Who reads the metrics of a server under load."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_FIRST = 0.5
"""Seconds until the first scrape."""


class Scraper:
    """Reads the metrics of a server from time to time, as Prometheus would.

    `ops` has the operations address of each server by name, `seconds` how long each scrape took.
    """

    def __init__(self, period: float = 5.0) -> None:
        """`period` in seconds, from the beginning of a scrape to that of the next."""
        self._period = period
        self.ops: dict[str, str] = {}
        self.seconds: list[float] = []
        self._until_next: dict[str, float] = {}

    @contextmanager
    def at_work(self, name: str) -> Iterator[None]:
        """Scrape the server of this name, on a thread of its own, until the context ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(name, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _run(self, name: str, over: threading.Event) -> None:
        # Time stands still for a server while it is paused.
        left = self._until_next.get(name, _FIRST)
        while True:
            began = time.monotonic()
            if over.wait(max(left, 0.0)):
                self._until_next[name] = left - (time.monotonic() - began)
                return
            left = self._period
            began = time.monotonic()
            try:
                with urllib.request.urlopen(
                    f"http://{self.ops[name]}/metrics", timeout=1
                ) as answer:
                    answer.read()
            except TimeoutError:
                continue  # the sample ended, and the server is paused
            self.seconds.append(time.monotonic() - began)
