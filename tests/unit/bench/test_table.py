"""A result as text."""

from __future__ import annotations

from dataclasses import replace

from inferd.bench.output.table import WIDTH, result_lines
from inferd.bench.result import Result, StepResult


def lines(result: Result) -> list[str]:
    """The whole text."""
    return list(result_lines(result))


def test_tables_fit(result: Result) -> None:
    """Also with figures as large as they get."""
    tables = [line for line in lines(result) if "128" in line or "p99" in line or "queue" in line]
    assert len(tables) >= 4
    assert max(map(len, tables)) <= WIDTH


def test_it_says_when_the_client_was_the_limit(result: Result, step: StepResult) -> None:
    """With the load and the reason, and a mark in the row; else not a word."""
    told = "\n".join(lines(result))
    assert "at 128 callers: THE CLIENT WAS THE LIMIT, not the server: a client process" in told
    assert " 97%!" in told
    fine = replace(step, client=replace(step.client, limit=None))
    assert "THE CLIENT" not in "\n".join(lines(replace(result, steps=(fine,))))


def test_it_says_when_the_machine_was_the_limit(result: Result, step: StepResult) -> None:
    """The same, for a client and a server that take each other's cores."""
    client = replace(step.client, limit=None)
    full = replace(step, client=client, machine_limit="client and server share it")
    told = "\n".join(lines(replace(result, steps=(full,))))
    assert "at 128 callers: THE MACHINE WAS THE LIMIT: client and server share it" in told
    assert " 97%!" in told
    fine = replace(full, machine_limit=None)
    told = "\n".join(lines(replace(result, steps=(fine,))))
    assert "THE MACHINE" not in told
    assert " 97%!" not in told


def test_errors_and_notes_are_told(result: Result) -> None:
    """By code, with the first message on one line."""
    told = lines(result)
    assert "at 128 callers: 12345 x UNAVAILABLE: no room" in told
    assert result.notes[0] in told


def test_what_was_not_measured_has_no_number(result: Result, step: StepResult) -> None:
    """Neither zero nor nothing at all."""
    bare = replace(step, latency_ms=None, server=None, resources=None)
    row = next(line for line in lines(replace(result, steps=(bare,))) if " 128 " in f" {line} ")
    assert row.split().count("-") == 6
    assert "on the server" not in "\n".join(lines(replace(result, steps=(bare,))))


def test_a_server_that_falls_behind_is_told(result: Result, step: StepResult) -> None:
    """More came than was answered: the latency is that of a growing queue."""
    behind = replace(step, concurrency=None, rate=1000.0, answered=5000, failed=0, throughput=700.0)
    told = "\n".join(lines(replace(result, steps=(behind,))))
    assert "at 1000/s: the server fell behind: 1,000 requests/s came, 700 were answered" in told
    level = replace(behind, throughput=990.0)
    assert "fell behind" not in "\n".join(lines(replace(result, steps=(level,))))


def test_an_interrupted_run_says_so(result: Result) -> None:
    """Nobody takes half a sweep for a whole one; with no step at all there is no table."""
    cut = replace(result, interrupted=True)
    assert lines(cut)[-1] == "interrupted: these are the figures so far"
    assert lines(replace(cut, steps=()))[-1] == "nothing was measured"
