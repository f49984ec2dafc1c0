"""The JSON document of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from inferd.bench.result import Result, StepResult, from_json, to_json


def test_json_gives_back_the_result(result: Result, step: StepResult) -> None:
    """Everything survives, also what was not measured."""
    bare = replace(step, concurrency=None, rate=0.5, latency_ms=None, server=None, resources=None)
    both = replace(result, steps=(step, bare))
    assert from_json(to_json(both)) == both


def test_the_format_has_a_number(result: Result) -> None:
    """Programs can tell this format from later ones; another number is refused."""
    document = json.loads(to_json(result))
    assert document["schema"] == 1
    assert document["steps"][0]["latency_ms"]["p99_9"] == 99999.4
    document["schema"] = 2
    with pytest.raises(msgspec.ValidationError):
        from_json(json.dumps(document).encode())
