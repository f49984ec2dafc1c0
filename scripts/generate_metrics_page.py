"""Write docs/observability.md's tables from the declarations, or check that they are fresh.

Everything between the two marks is made here; what stands around it is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from inferd.core.telemetry import metrics
from inferd.core.telemetry.metrics import METRICS, Metric
from inferd.server.supervisor.ops.triton import TRITON_METRICS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "observability.md"
BEGIN = "<!-- made by scripts/generate_metrics_page.py: begin -->\n"
END = "<!-- made by scripts/generate_metrics_page.py: end -->\n"

EXAMPLES = """\
examples:
  .venv/bin/python scripts/generate_metrics_page.py
  .venv/bin/python scripts/generate_metrics_page.py --check
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; with --check only compare, and 1 if it is out of date."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    after = with_tables(before)
    if given.check:
        if before != after:
            print(f"{PAGE.name} is out of date: run {Path(__file__).name}", file=sys.stderr)
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.name}: {len(METRICS)} metrics")
    return 0


def with_tables(page: str) -> str:
    """The page with the tables as the declarations have them. Raises `ValueError` without marks."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    made = [
        *_table(METRICS),
        "",
        "With `--metrics-compat triton` the same figures have Triton's names, too:",
        "",
        *_table(TRITON_METRICS),
        "",
        _of_buckets(),
        "",
    ]
    return head + BEGIN + "\n".join(made) + END + tail


def _of_buckets() -> str:
    return (
        f"Buckets of seconds end at {_listed(metrics.SECONDS)}; those of stages at "
        f"{_listed(metrics.STAGE_SECONDS)}; those of batch sizes at {_listed(metrics.ROWS)}."
    )


def _table(declared: Iterable[Metric]) -> list[str]:
    lines = ["| metric | kind | unit | labels | what it tells |", "|---|---|---|---|---|"]
    lines += [
        f"| `{each.name}` | {each.kind} | {each.unit} | {', '.join(each.labels)} | {each.help} |"
        for each in declared
    ]
    return lines


def _listed(bounds: Iterable[float]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


if __name__ == "__main__":
    sys.exit(main())
