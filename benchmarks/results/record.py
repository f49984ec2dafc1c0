"""What a run measured, as JSON: every round, the machine, the versions; and the reading of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from affinity import siblings, two_cores
from comparison import Results
from contenders.contender import Contender
from scenarios import SCENARIOS

_PACKAGES = ("inferd", "grpcio", "protobuf", "torch", "numpy")

Record = dict[str, Any]


def record(
    results: Results, contenders: Sequence[Contender], settings: dict[str, object]
) -> Record:
    """Everything, for `json.dump`. `contenders` are those asked for, measured or not."""
    return {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "settings": settings,
        "contenders": {each.name: _facts(each) for each in contenders},
        "scenarios": {
            name: {
                "title": SCENARIOS[name].title,
                "rounds": {
                    turn: [asdict(each) for each in samples] for turn, samples in turns.items()
                },
            }
            for name, turns in results.samples.items()
        },
        "missing": results.missing,
    }


def rounds(
    content: Record, scenario: str, turn: str, figure: str, role: str | None = None
) -> list[float] | None:
    """One figure of each round, in order; None where that was not measured.

    `role` chooses one of a figure that is told by role.
    """
    found = content["scenarios"].get(scenario, {}).get("rounds", {}).get(turn, ())
    values = [each.get(figure) for each in found]
    if role is not None:
        values = [(value or {}).get(role) for value in values]
    if not values or None in values:
        return None
    return [float(value) for value in values]


def machine() -> dict[str, object]:
    """What the figures depend on."""
    cores = two_cores()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "two_cores": cores,
        "two_cores_are_siblings": siblings(*cores) if cores else None,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _facts(contender: Contender) -> dict[str, str | None]:
    missing = contender.missing()
    return {
        "title": contender.title,
        "summary": contender.summary,
        "settings": contender.settings,
        "version": contender.version() if missing is None else None,
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
