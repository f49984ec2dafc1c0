"""Ratios are taken round by round, and a verdict follows from their median."""

from __future__ import annotations

from typing import Any

from spread import Spread, ratios
from targets import targets


def _content(**rates: list[float]) -> dict[str, Any]:
    rounds = {
        name: [{"rows_per_second": rate, "p50_us": 1.0, "p99_us": 1.0} for rate in each]
        for name, each in rates.items()
    }
    return {"scenarios": {"mlp-32": {"rounds": rounds}}}


def test_ratios_pair_the_rounds() -> None:
    """A slow round slows both: the ratio of medians would say something else."""
    assert ratios([10.0, 100.0, 30.0], [10.0, 50.0, 10.0]) == Spread(2.0, 1.0, 3.0)


def test_a_ratio_to_nothing_is_none() -> None:
    """Where a figure is zero there is no ratio."""
    assert ratios([1.0], [0.0]) is None


def test_verdicts_need_both_sides() -> None:
    """A target is met, missed, or not measured; nothing is guessed."""
    content = _content(inferd=[12.0, 12.0, 12.0], triton=[10.0, 10.0, 11.0])
    verdicts = {each.text: each.verdict(content) for each in targets()}
    met = verdicts["MLP, 32 callers ÷ Triton"]
    assert met is not None
    assert met[0].median == 1.2
    assert met[1]
    assert verdicts["MLP, 32 callers ÷ TorchServe, warm"] is None
    content = _content(inferd=[11.0], triton=[10.0])
    missed = {each.text: each.verdict(content) for each in targets()}["MLP, 32 callers ÷ Triton"]
    assert missed is not None
    assert not missed[1]
