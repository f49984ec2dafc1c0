"""Generate Grafana's dashboards from `scripts/dashboards/`.

Run `python scripts/generate_dashboards.py` after a change there and commit the result.
With `--check` nothing is written: stale files are named and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.devices import DEVICES
from dashboards.fleet import FLEET
from dashboards.grafana import as_json
from dashboards.model import ONE_MODEL
from dashboards.workers import WORKERS

HOUSE = Path(__file__).resolve().parent.parent
PAGES = (FLEET, ONE_MODEL, DEVICES, WORKERS)
FOLDERS = (
    HOUSE / "server/inferd/server/deploy/templates/grafana/dashboards",
    HOUSE / "deploy/grafana/dashboards",
)
"""Where `inferd deploy` finds them, and where whoever looks at the sources does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the dashboards, or with `--check` compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a dashboard is stale"
    )
    check = parser.parse_args(arguments).check
    wanted = {folder / f"{page.name}.json": as_json(page) for folder in FOLDERS for page in PAGES}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    leftover = sorted({path for folder in FOLDERS for path in folder.glob("*")} - wanted.keys())
    for path in (*stale, *leftover):
        if check:
            print(f"stale: {path.relative_to(HOUSE)}", file=sys.stderr)
        elif path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
            print(f"wrote {path.relative_to(HOUSE)}")
        else:
            path.unlink()
            print(f"removed {path.relative_to(HOUSE)}")
    if check and (stale or leftover):
        print("Run: python scripts/generate_dashboards.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
