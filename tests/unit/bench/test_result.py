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
    both = replace(result, steps=(replace(step, machine_limit="all cores used"), bare))
    assert from_json(to_json(both)) == both


def test_a_result_of_before_is_read(result: Result) -> None:
    """Documents written before the machine's limit was told have none."""
    document = json.loads(to_json(result))
    del document["steps"][0]["machine_limit"]
    assert from_json(json.dumps(document).encode()) == result


def test_the_format_has_a_number(result: Result) -> None:
    """Programs can tell this format from later ones; another number is refused."""
    document = json.loads(to_json(result))
    assert document["schema"] == 1
    assert document["steps"][0]["latency_ms"]["p99_9"] == 99999.4
    document["schema"] = 2
    with pytest.raises(msgspec.ValidationError):
        from_json(json.dumps(document).encode())
