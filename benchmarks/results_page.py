"""Write RESULTS.md from the JSON of one or more runs of `run.py --output`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from results.page import page

PAGE = Path(__file__).resolve().parent / "RESULTS.md"

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/results_page.py pinned.json unpinned.json
  .venv/bin/python benchmarks/results_page.py bench.json --page /tmp/page.md
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the runs and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to (default: RESULTS.md)")
    parser.add_argument(
        "--cost", type=Path, metavar="FILE", help="what `cost.py --markdown` printed, to go along"
    )
    given = parser.parse_args(arguments)
    contents = [json.loads(each.read_text()) for each in given.runs]
    cost = given.cost.read_text() if given.cost else ""
    given.page.write_text(page(contents, [each.name for each in given.runs], cost))
    print(given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
