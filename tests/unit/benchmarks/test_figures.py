"""Tables for a terminal and a page show what the rounds say, and nothing else."""

from __future__ import annotations

from typing import Any

from results.figures import COLUMNS, aligned, markdown, plain, table
from results.record import rounds


def _sample(rate: float, **more: Any) -> dict[str, Any]:
    sample: dict[str, Any] = {**dict.fromkeys(COLUMNS, 1.0), "rows_per_second": rate, **more}
    return sample


def _content(**samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {"scenarios": {"mlp-32": {"rounds": samples}}}


def test_a_row_per_contender_with_the_ratio_of_the_rounds() -> None:
    """The subject has no ratio to itself; latencies are told in milliseconds."""
    content = _content(
        inferd=[_sample(20.0, p50_us=1500.0), _sample(40.0, p50_us=2500.0)],
        bare=[_sample(10.0, load_busy=None), _sample(10.0, load_busy=None)],
    )
    head, ours, bare = table(content, "mlp-32", "inferd")
    assert head[1:4] == ["inferd ÷ it, rows/s", "rows/s", "p50 ms"]
    assert ours[:4] == ["inferd", "", "30 [20 .. 40]", "2.00 [1.50 .. 2.50]"]
    assert bare[:2] == ["bare", "3.00 [2.00 .. 4.00]"]
    assert bare[-1] == "-"


def test_a_figure_by_role_is_read_where_there_is_one() -> None:
    """Records of contenders without roles, and older ones, have none."""
    content = _content(
        inferd=[_sample(1.0, role_cpu_us={"gateway": 30.0})],
        triton=[_sample(1.0, role_cpu_us={})],
        old=[_sample(1.0)],
    )
    assert rounds(content, "mlp-32", "inferd", "role_cpu_us", "gateway") == [30.0]
    assert rounds(content, "mlp-32", "inferd", "role_cpu_us", "worker") is None
    assert rounds(content, "mlp-32", "triton", "role_cpu_us", "gateway") is None
    assert rounds(content, "mlp-32", "old", "role_cpu_us", "gateway") is None
    assert rounds(content, "mlp-32", "absent", "rows_per_second") is None


def test_columns_are_flush_in_a_terminal() -> None:
    """The first to the left, figures to the right."""
    assert aligned([["", "rows/s"], ["inferd", "9"]]).split("\n") == [
        "        rows/s",
        "─" * 14,
        "inferd       9",
    ]


def test_a_page_takes_nothing_in_a_cell_for_markup() -> None:
    """A version or a reason comes from elsewhere: no new cell, line, tag, link or image."""
    lines = markdown([["a", "b"], ["x | y\nz", "<img src=x> ![p](http://h/)"]]).split("\n")
    assert lines[:2] == ["| a | b |", "|---|---:|"]
    assert lines[2:] == ["| x \\| y z | &lt;img src=x> ![p]\\(http://h/) |"]


def test_what_was_escaped_before_is_shown_as_it_is() -> None:
    """A backslash before a bar must not undo the bar's own, nor an entity become a tag."""
    assert plain("\\|") == "\\\\\\|"
    assert plain("&lt;") == "&amp;lt;"
