"""The page that documents the metrics."""

from __future__ import annotations

import runpy
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[4]
SCRIPT = runpy.run_path(str(HOUSE / "scripts" / "generate_metrics_page.py"))


def test_it_is_what_the_declarations_say() -> None:
    """Whoever declares a metric makes the page anew."""
    page = (HOUSE / "docs" / "observability.md").read_text()
    assert SCRIPT["with_tables"](page) == page, "run scripts/generate_metrics_page.py"


def test_one_that_is_out_of_date_is_noticed() -> None:
    """The check fails where a metric is missing."""
    page = (HOUSE / "docs" / "observability.md").read_text()
    stale = page.replace("| `inferd_requests_total`", "| `inferd_forgotten_total`")
    assert SCRIPT["with_tables"](stale) == page != stale
