"""What each step of a request costs inside inferd: microseconds of CPU, and bytes copied.

The gateway's and the worker's own parts are driven in one process, one after the other. Beside
them stands what cannot be seen so: gRPC itself, as CPU time of a gateway's door that answers each
call with its own bytes, and the wake-up of another process through a socket.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from statistics import median
from time import perf_counter_ns

import torch
from request_steps.counting import counting_cost
from request_steps.door import door_cost
from request_steps.order import ALTERNATIVES, INSIDE, STEPS, Step
from request_steps.path import RequestPath
from request_steps.wakeup import wakeup_cost

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/cost.py
  taskset -c 0 .venv/bin/python benchmarks/cost.py --seconds 3
  .venv/bin/python benchmarks/cost.py --markdown > cost.md
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One size of row in one size of batch; `batch` is also how many callers ask the door."""

    title: str
    row: tuple[int, ...]
    batch: int

    @property
    def nbytes(self) -> int:
        """Of one tensor."""
        return 4 * prod(self.row)


COLUMNS = (
    Column("64 B", (16,), 1),
    Column("64 B, 64 a batch", (16,), 64),
    Column("602 KB", (3, 224, 224), 1),
    Column("602 KB, 4 a batch", (3, 224, 224), 4),
    Column("16 MiB", (4 << 20,), 1),
)


class Stopwatch:
    """Nanoseconds of each step, one entry per pass."""

    def __init__(self) -> None:
        self.laps: dict[str, list[int]] = {}
        self._since = perf_counter_ns()

    def restart(self) -> None:
        """The next lap begins now."""
        self._since = perf_counter_ns()

    def lap(self, step: str) -> None:
        """The time since the last lap was spent on `step`."""
        self.told(step, perf_counter_ns() - self._since)
        self._since = perf_counter_ns()

    def told(self, step: str, nanoseconds: int) -> None:
        """`step` lasted so long."""
        self.laps.setdefault(step, []).append(nanoseconds)


def measure(column: Column, seconds: float) -> dict[str, float]:
    """Median microseconds per request of each step, over the passes that fit in `seconds`."""
    watch = Stopwatch()
    with RequestPath(column.row, column.batch) as path:
        until = -inf
        passes = 0
        gc.collect()
        gc.disable()  # the gateway and the worker freeze their objects, so collections are short
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
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: list[tuple[str, list[str], str]] = []
    costs = [measure(column, given.seconds) for column in COLUMNS]
    for step in (*ALTERNATIVES, *STEPS):
        rows.append((step.name, _cells([each[step.name] for each in costs]), step.copies))
        if step.name in INSIDE:
            inner = INSIDE[step.name]
            rows.append((inner, _cells([each[inner] for each in costs]), ""))
    sums = [sum(each[step.name] for step in STEPS) for each in costs]
    rows.append(("all of these but the first two", _cells(sums), _sum(STEPS)))
    for name, cost in counting_cost(given.seconds).items():
        rows.append((name, _cells([cost] * len(COLUMNS)), "0"))
    wakeup = wakeup_cost(given.seconds)
    rows.append(
        ("wake another process, on the same core", _cells([wakeup / c.batch for c in COLUMNS]), "0")
    )
    program = shutil.which("h2load")
    if program is None:
        print("h2load is not installed, so gRPC itself is not measured", file=sys.stderr)
    else:
        door = [door_cost(program, c.row, c.batch, given.seconds) for c in COLUMNS]
        rows.append(
            ("gRPC: the door, answering at once", _cells(door), "4 (kernel ↔ core ↔ Python)")
        )
    _print(rows, markdown=given.markdown)
    return 0


def _cells(values: Sequence[float]) -> list[str]:
    return [f"{value:,.2f}" if value < 100 else f"{value:,.0f}" for value in values]


def _sum(steps: Sequence[Step]) -> str:
    small, large = sum(step.small for step in steps), sum(step.large for step in steps)
    return f"{small} small, {large} large"


def _print(rows: list[tuple[str, list[str], str]], *, markdown: bool) -> None:
    head = ["µs of CPU per request", *(column.title for column in COLUMNS), "copies of the tensor"]
    table = [head, *([name, *cells, copies] for name, cells, copies in rows)]
    if markdown:
        table.insert(1, ["---", *["---:"] * len(COLUMNS), "---"])
        for line in table:
            print("| " + " | ".join(line) + " |")
        return
    widths = [max(len(line[index]) for line in table) for index in range(len(head))]
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        print("  ".join([*cells, line[-1]]))


if __name__ == "__main__":
    sys.exit(main())
