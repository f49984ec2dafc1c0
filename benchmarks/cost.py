"""What each step of a request costs inside inferd, in microseconds of one core per request.

Drives the gateway's own parts in one process, without network, threads or model: the steps up to
the worker's socket and back. What a request costs beyond them is gRPC, waking processes up, and
the model.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from time import perf_counter_ns

from request_path import STEPS, RequestPath

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/cost.py
  taskset -c 0 .venv/bin/python benchmarks/cost.py --seconds 3
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One size of request in one size of batch."""

    title: str
    shape: tuple[int, ...]
    batch: int


COLUMNS = (
    Column("16 floats, alone", (1, 16), 1),
    Column("16 floats, 64 in a batch", (1, 16), 64),
    Column("602 KB, alone", (1, 3, 224, 224), 1),
    Column("602 KB, 4 in a batch", (1, 3, 224, 224), 4),
)


class Stopwatch:
    """Nanoseconds of each step, one entry per pass."""

    def __init__(self) -> None:
        self.laps: dict[str, list[int]] = {step: [] for step in STEPS}
        self._since = perf_counter_ns()

    def restart(self) -> None:
        """The next lap begins now."""
        self._since = perf_counter_ns()

    def lap(self, step: str) -> None:
        """The time since the last lap was spent on `step`."""
        now = perf_counter_ns()
        self.laps[step].append(now - self._since)
        self._since = perf_counter_ns()


def measure(column: Column, seconds: float) -> dict[str, float]:
    """Median microseconds per request of each step, over the passes that fit in `seconds`."""
    watch = Stopwatch()
    with RequestPath(column.shape, column.batch) as path:
        until = -inf
        passes = 0
        gc.collect()
        gc.disable()  # inferd's gateway freezes its objects, so collections there are short
        try:
            while passes < 20 or perf_counter_ns() < until:
                path.run_once(watch)
                passes += 1
                if passes == 10:  # warm: plans are known, pages touched
                    watch = Stopwatch()
                    until = perf_counter_ns() + seconds * 1e9
        finally:
            gc.enable()
    return {step: median(laps) / 1000 / column.batch for step, laps in watch.laps.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="for each column of the table (default: 1)"
    )
    seconds = parser.parse_args(arguments).seconds
    columns = [measure(column, seconds) for column in COLUMNS]
    width = max(len(step) for step in STEPS)
    print("µs per request".ljust(width), *(column.title for column in COLUMNS), sep="  ")
    for step in STEPS:
        _print_row(step, width, [costs[step] for costs in columns])
    _print_row("together", width, [sum(costs.values()) for costs in columns])
    return 0


def _print_row(title: str, width: int, values: Sequence[float]) -> None:
    cells = (
        f"{value:.2f}".rjust(len(column.title))
        for value, column in zip(values, COLUMNS, strict=True)
    )
    print(title.ljust(width), *cells, sep="  ")


if __name__ == "__main__":
    sys.exit(main())
