"""The rounds: every contender in turn, as often as asked, under the same load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from contenders.contender import Conditions, Contender, ContenderError, Sample, Turn
from load import LoadError
from scenarios import Scenario
from wires.call import CallFailed, WrongAnswer

_FAILURES = (ContenderError, LoadError, CallFailed, WrongAnswer)


@dataclass(slots=True)
class Results:
    """Samples by scenario and turn, in the order measured, and why others are missing.

    `missing` is by contender, where none of it can run, else by `contender in scenario`.
    """

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Comparison:
    """Scenario by scenario: starts all contenders, then lets the load go from one to the next.

    Those whose turn it is not are paused: an idle server costs its core something, too.
    """

    def __init__(self, conditions: Conditions, rounds: int, say: Callable[[str], None]) -> None:
        """`say` hears of the progress."""
        self._conditions = conditions
        self._rounds = rounds
        self._say = say

    def run(self, contenders: Sequence[Contender], scenarios: Sequence[Scenario]) -> Results:
        """Measure; a contender that fails is reported as missing, the others go on."""
        results = Results()
        present: list[Contender] = []
        for contender in contenders:
            reason = contender.missing()
            if reason is None:
                present.append(contender)
            else:
                self._miss(results, contender.name, reason)
        for scenario in scenarios:
            results.samples[scenario.name] = {}
            with ExitStack() as running:
                self._rounds_of(
                    scenario, self._prepared(scenario, present, results, running), results
                )
        return results

    def _prepared(
        self,
        scenario: Scenario,
        contenders: Sequence[Contender],
        results: Results,
        running: ExitStack,
    ) -> list[Turn]:
        turns: list[Turn] = []
        for contender in contenders:
            if scenario.name not in contender.scenarios:
                continue
            for turn in contender.turns(scenario, self._conditions):
                self._say(f"{scenario.name}: starting {turn.name}")
                running.callback(turn.close)
                try:
                    turn.prepare()
                except _FAILURES as error:
                    self._fail(results, scenario, turn, error)
                    continue
                turns.append(turn)
        return turns

    def _rounds_of(self, scenario: Scenario, turns: list[Turn], results: Results) -> None:
        for number in range(self._rounds):
            # Whoever comes first in one round comes last in the next: what else the machine does
            # then weighs on all alike.
            start = number % max(1, len(turns))
            for turn in turns[start:] + turns[:start]:
                try:
                    sample = turn.sample()
                except _FAILURES as error:
                    # Rounds are compared one by one, so a contender has all of them or none.
                    turns.remove(turn)
                    results.samples[scenario.name].pop(turn.name, None)
                    self._fail(results, scenario, turn, error)
                    continue
                results.samples[scenario.name].setdefault(turn.name, []).append(sample)
                self._say(
                    f"{scenario.name}: round {number + 1} of {self._rounds}, {turn.name}: "
                    f"{sample.rows_per_second:,.0f} rows/s, p50 {sample.p50_us:,.0f} µs"
                )
        # In the order of the catalogue, not of who came first.
        measured = results.samples[scenario.name]
        results.samples[scenario.name] = {each.name: measured[each.name] for each in turns}

    def _fail(self, results: Results, scenario: Scenario, turn: Turn, error: Exception) -> None:
        turn.close()
        self._miss(results, f"{turn.name} in {scenario.name}", str(error))

    def _miss(self, results: Results, name: str, reason: str) -> None:
        results.missing.setdefault(name, reason)  # later ones follow from the first
        self._say(f"{name} is not measured: {reason}")
