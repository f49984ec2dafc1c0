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


def rounds(content: Record, scenario: str, turn: str, figure: str) -> list[float] | None:
    """One figure of each round, in order; None where that was not measured."""
    found = content["scenarios"].get(scenario, {}).get("rounds", {}).get(turn)
    if not found or found[0][figure] is None:
        return None
    return [float(each[figure]) for each in found]


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
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
