"""Sweeps as people type them, and plans that make sense."""

from __future__ import annotations

from typing import Any

import pytest

from inferd.bench.plan import (
    DEFAULT_CONCURRENCIES,
    Closed,
    Open,
    Plan,
    PlanError,
    parse_sweep,
    processes_of,
    steps_of,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4", (4,)),
        ("1,2,8", (1, 2, 8)),
        ("1:32", (1, 2, 4, 8, 16, 32)),
        ("1:20", (1, 2, 4, 8, 16, 20)),
        ("100:500:200", (100, 300, 500)),
        ("100:450:200", (100, 300, 450)),
        ("1, 4:8", (1, 4, 8)),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("7:7", (7,)),
    ],
)
def test_a_sweep_is_a_list_or_a_range(text: str, values: tuple[float, ...]) -> None:
    """START:END doubles, START:END:STEP adds; the end is always in."""
    assert parse_sweep("--rate", text) == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no number above 0"),
        ("1,,2", "no number above 0"),
        ("0", "no number above 0"),
        ("-3", "no number above 0"),
        ("nan", "no number above 0"),
        ("inf", "no number above 0"),
        ("many", "'many' is no number"),
        ("8:1", "is no range"),
        ("1:2:3:4", "is no range"),
        ("1:1000000:1", "more than 100 steps"),
    ],
)
def test_a_bad_sweep_names_the_option(text: str, told: str) -> None:
    """What was typed and what was expected are in the message."""
    with pytest.raises(PlanError, match=r"^--rate") as caught:
        parse_sweep("--rate", text)
    assert told in str(caught.value)


def test_steps_are_callers_or_rates() -> None:
    """Without options the usual callers; never both kinds."""
    assert steps_of(None, None) == tuple(map(Closed, DEFAULT_CONCURRENCIES))
    assert steps_of("1,2", None) == (Closed(1), Closed(2))
    assert steps_of(None, "0.5") == (Open(0.5),)
    with pytest.raises(PlanError, match="expected one of them"):
        steps_of("1", "1")
    with pytest.raises(PlanError, match=r"1\.5 is not a whole number"):
        steps_of("1.5", None)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"duration": 0}, "--duration 0"),
        ({"duration": 5, "timeout": 6}, "--timeout 6 is longer than --duration 5"),
        ({"timeout": 0}, "--timeout 0"),
        ({"warm_up": -1}, "--warm-up -1"),
        ({"seed": -1}, "--seed -1"),
        ({"connections": 0}, "--connections 0"),
        ({"processes": 0}, "--processes 0"),
        ({"steps": (Open(0.1),)}, "--rate 0.1: not one request"),
        ({"steps": (Closed(0),)}, "--concurrency 0: expected 1 to 100,000"),
        ({"steps": (Closed(1), Closed(100_001))}, "--concurrency 100001: expected 1 to 100,000"),
        ({"steps": (Closed(10**9),)}, "--concurrency 1000000000: expected"),
        ({"steps": (Open(1e9),)}, "--rate 1e+09: expected at most 1,000,000 requests per second"),
        (
            {"steps": (Open(1e6),), "duration": 49, "warm_up": 2},
            "--rate 1e+06: these are 51,000,000 requests in --warm-up 2 and --duration 49",
        ),
        ({"connections": 1001}, "--connections 1001: expected 1 to 1,000"),
        ({"processes": 65}, "--processes 65: expected 1 to 64"),
    ],
)
def test_a_senseless_plan_is_refused(settings: dict[str, Any], told: str) -> None:
    """The message begins with the option as it is typed."""
    with pytest.raises(PlanError) as caught:
        Plan(**{"steps": (Closed(1),), **settings})
    assert str(caught.value).startswith(told)


def test_the_largest_plan_is_taken() -> None:
    """Bounds are within what is refused, not outside."""
    steps = (Closed(100_000), Open(1e6))
    plan = Plan(steps, duration=49.0, warm_up=1.0, connections=1000, processes=64)
    assert plan.steps == steps


def test_processes_are_a_number_or_auto() -> None:
    """`auto` is None: as many as needed."""
    assert (processes_of("auto"), processes_of("3")) == (None, 3)
    with pytest.raises(PlanError, match="expected a number or auto"):
        processes_of("some")
