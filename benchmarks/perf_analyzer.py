"""Compare `inferd bench` with perf_analyzer: the same server, model and number of callers, in turns.

perf_analyzer comes with `scripts/foreign_clients.py install perf_analyzer`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HOUSE = Path(__file__).resolve().parents[1]

EXAMPLES = """\
examples, with `inferd serve models` running:
  .venv/bin/python benchmarks/perf_analyzer.py digits
  .venv/bin/python benchmarks/perf_analyzer.py digits --callers 1 8 --stream --rounds 9
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one of the two said: requests per second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Load:
    """One load that both put on the server."""

    address: str
    model: str
    callers: int
    seconds: float
    stream: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in turns and print medians and ratios; 0 if both could be run."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--address", default="127.0.0.1:8001")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stream", action="store_true", help="over ModelStreamInfer")
    given = parser.parse_args(arguments)
    missing = _setup()["missing"]("perf_analyzer")
    if missing is not None:
        print(f"perf_analyzer is {missing}", file=sys.stderr)
        return 1
    print("callers  what   perf_analyzer  inferd bench  ratio (bench / perf_analyzer, per round)")
    for callers in given.callers:
        load = Load(given.address, given.model, callers, given.seconds, given.stream)
        _show(callers, _measure(load, given.rounds))
    return 0


def _measure(load: Load, rounds: int) -> list[tuple[Figures, Figures]]:
    """Both, once in each round; who goes first changes, so that neither has the quieter half."""
    both: list[Callable[[Load], Figures]] = [_perf_analyzer, _inferd_bench]
    pairs = []
    for number in range(rounds):
        order = both if number % 2 == 0 else both[::-1]
        told = {each: each(load) for each in order}
        pairs.append((told[_perf_analyzer], told[_inferd_bench]))
    return pairs


def _show(callers: int, pairs: Sequence[tuple[Figures, Figures]]) -> None:
    for name in ("rate", "p50", "p99"):
        theirs = [getattr(pair[0], name) for pair in pairs]
        ours = [getattr(pair[1], name) for pair in pairs]
        ratios = sorted(our / their for our, their in zip(ours, theirs, strict=True))
        print(
            f"{callers:7}  {name:5}  {median(theirs):13.2f}  {median(ours):12.2f}  "
            f"{median(ratios):.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})",
            flush=True,
        )


def _perf_analyzer(load: Load) -> Figures:
    folder: Path = _setup()["ENVIRONMENTS"] / "perf_analyzer"
    (program,) = folder.glob("*.data/data/bin/perf_analyzer")
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.csv"
        command = [program, "-m", load.model, "-i", "grpc", "-u", load.address, "-f", report]
        command += ["--concurrency-range", load.callers, "-p", int(load.seconds * 1000)]
        # One window each, as long as that of the other side, instead of three alike ones.
        command += ["--stability-percentage", "999", "--max-trials", "3", "--percentile", "99"]
        command += ["--streaming", "--async"] if load.stream else []
        _run(command, {"LD_LIBRARY_PATH": str(folder / "lib")})
        with report.open(newline="") as file:
            (row,) = csv.DictReader(file)
    return Figures(
        rate=float(row["Inferences/Second"]),
        p50=float(row["p50 latency"]) / 1e3,
        p99=float(row["p99 latency"]) / 1e3,
    )


def _inferd_bench(load: Load) -> Figures:
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "result.json"
        command = [Path(sys.executable).with_name("inferd"), "bench", load.model]
        command += ["--address", load.address, "--concurrency", load.callers, "--output", output]
        command += ["--duration", load.seconds, *(["--stream"] if load.stream else [])]
        _run(command)
        (step,) = json.loads(output.read_text())["steps"]
    latency = step["latency_ms"]
    return Figures(rate=step["throughput"], p50=latency["p50"], p99=latency["p99"])


def _setup() -> dict[str, Any]:
    return runpy.run_path(str(HOUSE / "scripts" / "foreign_clients.py"))


def _run(command: Sequence[object], more: dict[str, str] | None = None) -> None:
    line = [str(each) for each in command]
    done = subprocess.run(
        line, env={**os.environ, **(more or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        raise SystemExit(f"{line[0]} ended with code {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
