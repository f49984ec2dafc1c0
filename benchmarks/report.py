"""Results as tables for a terminal and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from comparison import Results, Sample
from scenarios import SCENARIOS

_PACKAGES = ("inferd", "grpcio", "protobuf", "torch", "numpy")


@dataclass(frozen=True, slots=True)
class Spread:
    """Middle, least and most of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """`12,345 [12,100 .. 12,900]`."""
        low, high = f"{self.least:,.{digits}f}", f"{self.most:,.{digits}f}"
        return f"{self.median:,.{digits}f} [{low} .. {high}]"


_COLUMNS: dict[str, tuple[str, int, Callable[[Sample], float]]] = {
    "requests_per_second": ("requests/s", 0, lambda sample: sample.requests_per_second),
    "p50_us": ("p50 µs", 0, lambda sample: sample.p50_us),
    "p99_us": ("p99 µs", 0, lambda sample: sample.p99_us),
    "server_cpu_us": ("server CPU µs/request", 1, lambda sample: sample.server_cpu_us),
}
_RATIOS = ("requests_per_second", "p50_us", "server_cpu_us")


def ratios(
    subject: Sequence[Sample], other: Sequence[Sample], value: Callable[[Sample], float]
) -> Spread | None:
    """`subject` divided by `other`, round by round; None where a round has no such figure."""
    pairs = [(value(a), value(b)) for a, b in zip(subject, other, strict=True)]
    if not pairs or any(b == 0 for _, b in pairs):
        return None
    return Spread.of([a / b for a, b in pairs])


def tables(results: Results, *, subject: str) -> str:
    """One table per scenario: figures, then `subject` divided by each of the others."""
    parts: list[str] = []
    for name, contenders in results.samples.items():
        rows = [[SCENARIOS[name].title, *(title for title, _, _ in _COLUMNS.values())]]
        for contender, samples in contenders.items():
            spreads = (
                Spread.of([value(each) for each in samples]).text(digits)
                for _, digits, value in _COLUMNS.values()
            )
            rows.append([contender, *spreads])
        for contender, samples in contenders.items():
            if contender != subject and subject in contenders:
                rows.append(_ratio_row(subject, contender, contenders[subject], samples))
        parts.append(_aligned(rows))
    parts.extend(f"{name} was not measured: {why}" for name, why in results.missing.items())
    return "\n\n".join(parts)


def _ratio_row(
    subject: str, contender: str, ours: Sequence[Sample], theirs: Sequence[Sample]
) -> list[str]:
    row = [f"{subject} ÷ {contender}"]
    for key, (_, _, value) in _COLUMNS.items():
        spread = ratios(ours, theirs, value) if key in _RATIOS else None
        row.append("" if spread is None else spread.text(2))
    return row


def record(results: Results, *, subject: str, settings: dict[str, object]) -> dict[str, Any]:
    """Everything measured, for `json.dump`: each round, the spreads and the ratios."""
    scenarios: dict[str, Any] = {}
    for name, contenders in results.samples.items():
        scenarios[name] = {
            contender: {
                "rounds": [asdict(each) for each in samples],
                "spread": {
                    key: asdict(Spread.of([value(each) for each in samples]))
                    for key, (_, _, value) in _COLUMNS.items()
                },
                "ratio": _ratio_record(contenders.get(subject, []), samples),
            }
            for contender, samples in contenders.items()
        }
    return {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "settings": settings,
        "subject": subject,
        "scenarios": scenarios,
        "missing": results.missing,
    }


def _ratio_record(ours: Sequence[Sample], theirs: Sequence[Sample]) -> dict[str, Any]:
    """The subject divided by this contender."""
    if not ours:
        return {}
    found = {key: ratios(ours, theirs, _COLUMNS[key][2]) for key in _RATIOS}
    return {key: asdict(spread) for key, spread in found.items() if spread is not None}


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns flush: the first to the left, figures to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    lines.insert(1, "─" * max(len(line) for line in lines))
    return "\n".join(lines)
