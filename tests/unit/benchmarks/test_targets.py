"""Ratios are taken round by round, and a verdict follows from their median."""

from __future__ import annotations

from typing import Any

from results.spread import Spread, ratios
from results.targets import targets


def _content(**rates: list[float]) -> dict[str, Any]:
    rounds = {
        name: [{"rows_per_second": rate, "p50_us": 1.0, "p99_us": 1.0} for rate in each]
        for name, each in rates.items()
    }
    return {"settings": {"pinned": True}, "scenarios": {"mlp-32": {"rounds": rounds}}}


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


def _verdict(start: str, content: dict[str, Any]) -> tuple[Spread, bool] | None:
    (target,) = [each for each in targets() if each.text.startswith(start)]
    return target.verdict(content)


def test_the_cnn_is_compared_with_the_faster_batch_size() -> None:
    """A bare model at a size that is bad for it would flatter; both must have been measured."""
    content = _content(inferd=[10.0, 10.0])
    rounds = content["scenarios"]["mlp-32"]["rounds"]
    content["scenarios"]["cnn-8"] = {"rounds": rounds}
    rounds["bare, batches of 4"] = [{"rows_per_second": rate} for rate in (20.0, 20.0)]
    assert _verdict("CNN, 8 callers ÷", content) is None
    rounds["bare, batches of 8"] = [{"rows_per_second": rate} for rate in (5.0, 8.0)]
    verdict = _verdict("CNN, 8 callers ÷", content)
    assert verdict == (Spread(0.5, 0.5, 0.5), False)


def test_the_gateway_is_compared_with_the_prototypes_gateway() -> None:
    """Their workers differ in more than the request path, and inferd has a supervisor beside."""
    rounds = {
        name: [{"role_cpu_us": {"gateway": cost, "worker": 99.0}, "role_peak_rss_mb": peaks}]
        for name, cost, peaks in (("inferd", 40.0, {"gateway": 121.0}), ("prototype", 30.0, {}))
    }
    content = {"settings": {"pinned": True}, "scenarios": {"linear-64": {"rounds": rounds}}}
    assert _verdict("linear, 64 callers: CPU", content) == (Spread(10.0, 10.0, 10.0), True)
    peak = _verdict("linear, 64 callers: peak RSS of the gateway", content)
    assert peak == (Spread(121.0, 121.0, 121.0), False)
    assert _verdict("linear, 64 callers: peak RSS of the supervisor", content) is None
