"""What the files for Prometheus, Grafana and compose need to know of a place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from inferd.core.address import Address

THROTTLES = ("hardware_slowdown", "thermal_hardware", "thermal_software", "power_brake")
"""Reasons of `inferd_gpu_throttled` that somebody should know of."""

_URL = re.compile(r"[A-Za-z0-9._~:/?=&%+\[\]-]+")
_IMAGE = re.compile(r"[A-Za-z0-9._/:@-]+")
_DURATION = re.compile(r"[1-9][0-9]*(ms|s|m)")


@dataclass(frozen=True, slots=True)
class Targets:
    """Addresses and objectives of a place; `values` are the texts that templates ask for.

    Raises `ValueError` for what would not be understood, or would be something else, in a file.
    """

    ops: tuple[Address, ...] = (Address("127.0.0.1", 8002),)
    """The operations ports to scrape."""
    prometheus: str = "http://127.0.0.1:9090"
    """Where Grafana asks Prometheus."""
    alertmanager: tuple[Address, ...] = ()
    """Where Prometheus sends alerts; empty: nowhere."""
    interval: str = "15s"
    """How often metrics are scraped and rules evaluated."""
    availability: float = 0.999
    """Share of requests that are to be answered, over 30 days."""
    latency: float = 0.5
    """Seconds within which 99 of 100 requests are to be answered."""
    runbooks: str = "docs/alerts.md"
    """The page that tells what to do about each alert."""
    image: str = "inferd:gpu"
    """The image of inferd that compose starts."""

    def __post_init__(self) -> None:
        if not self.ops:
            raise ValueError("--ops: expected at least one HOST:PORT such as 127.0.0.1:8002")
        for address in (*self.ops, *self.alertmanager):
            if address.port == 0:
                raise ValueError(f"{address}: expected the port it listens on, which is never 0")
        parts = urlsplit(self.prometheus)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError(
                f"--prometheus {self.prometheus}: expected a URL such as http://127.0.0.1:9090"
            )
        for option, text, pattern, example in (
            ("--prometheus", self.prometheus, _URL, "http://127.0.0.1:9090"),
            ("--runbooks", self.runbooks, _URL, "https://wiki.example.com/inferd-alerts"),
            ("--image", self.image, _IMAGE, "inferd:gpu"),
            ("--interval", self.interval, _DURATION, "15s"),
        ):
            if not pattern.fullmatch(text):
                raise ValueError(f"{option} {text}: expected something like {example}")
        if not 0 < self.availability < 1:
            raise ValueError(
                f"--availability {self.availability:g}: expected more than 0 and less than 1, such as 0.999"
            )
        if not 0 < self.latency < float("inf"):
            raise ValueError(f"--latency {self.latency:g}: expected more than 0 seconds")

    def values(self) -> Mapping[str, str]:
        """The text for each placeholder of the templates."""
        return {
            "targets": json.dumps([str(each) for each in self.ops]),
            "prometheus": json.dumps(self.prometheus),
            "alerting": _alerting(self.alertmanager),
            "interval": self.interval,
            "budget": f"{1 - Decimal(str(self.availability)):f}",
            "p99": f"{Decimal(str(self.latency)):f}",
            "runbooks": self.runbooks,
            "image": self.image,
            "throttle": "|".join(THROTTLES),
        }


def _alerting(alertmanager: tuple[Address, ...]) -> str:
    if not alertmanager:
        return ""
    targets = json.dumps([str(each) for each in alertmanager])
    return f"\nalerting:\n  alertmanagers:\n    - static_configs:\n        - targets: {targets}\n"
