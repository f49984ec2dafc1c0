"""Tables of a run's figures: rows of cells, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterator

from results.record import Record, rounds
from results.spread import Spread, ratios

COLUMNS = {
    "rows_per_second": ("rows/s", 0, 1.0),
    "p50_us": ("p50 ms", 2, 1e-3),
    "p99_us": ("p99 ms", 2, 1e-3),
    "server_cpu_us": ("CPU µs/request", 0, 1.0),
    "peak_rss_mb": ("peak RSS MB", 0, 1.0),
    "pss_mb": ("PSS MB", 0, 1.0),
    "load_busy": ("load busy", 2, 1.0),
}
"""Figure of a sample: its title, digits, and factor."""

_SPREAD = ("rows_per_second", "p50_us")
"""Figures whose least and most are shown, too."""


def table(content: Record, scenario: str, subject: str) -> list[list[str]]:
    """The head, then a row per contender; the second column is the subject divided by it."""
    head = ["", f"{subject} ÷ it, rows/s", *(title for title, _, _ in COLUMNS.values())]
    return [head, *_rows(content, scenario, subject)]


def _rows(content: Record, scenario: str, subject: str) -> Iterator[list[str]]:
    ours = rounds(content, scenario, subject, "rows_per_second")
    for turn in content["scenarios"][scenario]["rounds"]:
        theirs = rounds(content, scenario, turn, "rows_per_second")
        ratio = None
        if turn != subject and ours is not None and theirs is not None:
            ratio = ratios(ours, theirs)
        cells = [turn, "" if ratio is None else ratio.text(2)]
        for figure, (_, digits, factor) in COLUMNS.items():
            cells.append(_cell(rounds(content, scenario, turn, figure), figure, digits, factor))
        yield cells


def _cell(values: list[float] | None, figure: str, digits: int, factor: float) -> str:
    if values is None:
        return "-"
    spread = Spread.of([each * factor for each in values])
    return spread.text(digits) if figure in _SPREAD else f"{spread.median:,.{digits}f}"


def aligned(rows: list[list[str]]) -> str:
    """For a terminal: columns flush, the first to the left, figures to the right."""
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


def markdown(rows: list[list[str]]) -> str:
    """The same for a page, with every cell as plain text."""
    head, *rest = [f"| {' | '.join(map(plain, row))} |" for row in rows]
    rule = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join((head, rule, *rest))


def plain(text: str) -> str:
    """`text` in one line, so that a page shows it and takes nothing in it for markup or a cell."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
