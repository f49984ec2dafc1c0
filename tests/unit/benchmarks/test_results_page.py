"""The page tells each target once, and takes nothing that a server said for markup."""

from __future__ import annotations

from typing import Any

from results.figures import COLUMNS
from results.page import page
from results.targets import targets


def _run(*, pinned: bool = True, missing: str = "", **rates: float) -> dict[str, Any]:
    scenario = "mlp-32" if pinned else "linear-64"
    rounds = {
        name.replace("_", "-"): [{**dict.fromkeys(COLUMNS, 1.0), "rows_per_second": rate}]
        for name, rate in rates.items()
    }
    return {
        "ended": "2026-01-02T03:04:05+0000",
        "machine": {
            "processor": "P",
            "cores": 2,
            "two_cores_are_siblings": True,
            "memory_gb": 8.0,
            "system": "S",
            "kernel": "K",
            "python": "3.11",
            "packages": {"torch": "2"},
        },
        "settings": {
            "rounds": 1,
            "seconds": 1.0,
            "pinned": pinned,
            "warm": None,
            "chosen": [],
            "load": "h2load",
        },
        "contenders": {},
        "scenarios": {scenario: {"title": "T", "rounds": rounds}},
        "missing": {"triton in mlp-32": missing} if missing else {},
    }


def _lines(content: str, start: str) -> list[str]:
    return [line for line in content.splitlines() if line.startswith(f"| {start} |")]


def test_a_target_is_told_once_by_the_first_run_that_has_it() -> None:
    """A later run, and one that is not pinned, must not speak for the same target."""
    runs = [_run(inferd=9.0), _run(inferd=2.0, triton=1.0), _run(inferd=1.0, triton=1.0)]
    unpinned = _run(pinned=False, inferd=10.0, inferd_2=17.0, triton=1.0)
    text = page([unpinned, *runs], ["d.json", "a.json", "b.json", "c.json"])
    for target in targets():
        assert len(_lines(text, target.text)) == 1, target.text
    line = "| MLP, 32 callers ÷ Triton | ≥ 1.15 | 2.00 [2.00 .. 2.00] | met |"
    assert _lines(text, "MLP, 32 callers ÷ Triton") == [line]
    assert _lines(text, "linear, 64 callers ÷ Triton") == [
        "| linear, 64 callers ÷ Triton | ≥ 1.3 | not measured |  |"
    ]
    two = "linear, 64 callers, not pinned: two gateways ÷ one; load and servers shared the cores"
    assert _lines(text, two) == [f"| {two} | ≥ 1.6 | 1.70 [1.70 .. 1.70] | met |"]


def test_a_missed_target_stands_out() -> None:
    """Nobody has to compare figures to see it."""
    text = page([_run(inferd=1.0, triton=1.0)], ["a.json"])
    assert "| ≥ 1.15 | 1.00 [1.00 .. 1.00] | **missed** |" in text


def test_last_words_of_a_server_are_no_markup() -> None:
    """They may hold anything: they stay one item of the list, shown as they are."""
    words = "gone\n\n# Results\n<script>x</script>\n- | ![x](http://h/)"
    text = page([_run(inferd=1.0, missing=words)], ["a.json"])
    (line,) = [each for each in text.splitlines() if "gone" in each]
    assert line == (
        "- triton in mlp-32: gone # Results &lt;script>x&lt;/script> - \\| ![x]\\(http://h/)"
    )
    assert "<script>" not in text


def test_the_machine_tells_whether_its_cores_are_one() -> None:
    """Two threads of one core share it: ratios to one core's figures then say less."""
    assert "2 cores (the two that are used: threads of one physical core)" in page([_run()], ["a"])
