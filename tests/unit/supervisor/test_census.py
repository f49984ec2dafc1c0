"""The sum of what gateways have counted, across their deaths."""

from __future__ import annotations

from inferd.core.link.messages import VersionCounts
from inferd.core.telemetry.counts import Counts
from inferd.server.supervisor.gateways.census import Census


def counts(executions: int, model: str = "m") -> list[VersionCounts]:
    """A report of one version."""
    return [VersionCounts(model, 1, execution_count=executions)]


def executions(found: Counts, model: str = "m") -> int:
    """The executions in a sum."""
    return found.of(model, 1).execution_count


def test_all_are_added_up_and_one_may_be_left_out() -> None:
    """The gateway that asks adds its own counts itself, as they are by then."""
    census = Census()
    census.reported("one", counts(3))
    census.reported("two", counts(4))
    assert executions(census.total()) == 7
    assert executions(census.total(without="one")) == 4
    assert executions(census.total(without="three")) == 7


def test_a_later_report_replaces_the_one_before() -> None:
    """Reports are totals; what one does not name has not changed."""
    census = Census()
    census.reported("one", [*counts(3), *counts(1, "n")])
    census.reported("one", counts(5))
    assert (executions(census.total()), executions(census.total(), "n")) == (5, 1)


def test_counts_outlive_their_gateway() -> None:
    """Its successor counts from zero, and dies in its turn; nothing is counted twice."""
    census = Census()
    for _ in range(3):
        census.reported("one", counts(3))
        census.left("one")
        assert executions(census.total(without="one")) == executions(census.total())
    census.left("one")
    census.left("never there")
    assert executions(census.total()) == 9
    census.reported("one", counts(1))
    assert executions(census.total()) == 10
    assert executions(census.total(without="one")) == 9
