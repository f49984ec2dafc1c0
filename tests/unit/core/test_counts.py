"""Counts of model versions: replaced by newer totals, added up, cut into messages."""

from __future__ import annotations

import msgspec
import pytest

from inferd.core.link.messages import BatchCounts, ResponseCounts, Spent, VersionCounts
from inferd.core.telemetry.counts import PART, Counts, sum_of


def version(executions: int, *sizes: int, model: str = "m", number: int = 1) -> VersionCounts:
    """Counts in which every number follows from `executions`; batches of these sizes."""
    spent = Spent(executions, 10 * executions)
    return VersionCounts(
        model,
        number,
        inference_count=2 * executions,
        execution_count=executions,
        last_inference=1000 + executions,
        success=spent,
        fail=Spent(1, 1),
        queue=spent,
        compute_input=spent,
        compute_infer=spent,
        compute_output=spent,
        batches={size: BatchCounts(spent, spent, Spent(size, size)) for size in sizes},
    )


def counted(*versions: VersionCounts) -> Counts:
    """Counts that know these versions."""
    counts = Counts()
    counts.update(versions)
    return counts


def test_what_nobody_counted_is_zero() -> None:
    """A version that another gateway never heard of adds nothing."""
    assert Counts().of("m", 1) == VersionCounts("m", 1)
    assert sum_of(version(3, 1), VersionCounts("m", 1)) == version(3, 1)


def test_newer_totals_replace_older_ones() -> None:
    """Batch sizes that a report does not name have not changed."""
    counts = counted(version(1, 1, 2))
    counts.update([version(5, 2, 4)])
    assert counts.of("m", 1) == sum_of(
        version(5, 2, 4), VersionCounts("m", 1, batches={1: version(1, 1).batches[1]})
    )


def test_sums_are_exact() -> None:
    """Every count and every time is added, batch size by batch size; the last inference is the later."""
    total = sum_of(version(2, 1, 2), version(3, 2, 4))
    assert (total.inference_count, total.execution_count, total.last_inference) == (10, 5, 1003)
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert getattr(total, name) == Spent(5, 50)
    assert total.fail == Spent(2, 2)
    assert list(total.batches) == [1, 2, 4]
    assert total.batches[1] == version(2, 1).batches[1]
    assert total.batches[2] == BatchCounts(Spent(5, 50), Spent(5, 50), Spent(4, 4))
    assert total.batches[4] == version(3, 4).batches[4]


def responses(number: int, each: int = 1) -> VersionCounts:
    """Counts of a model that has yielded answers of this many indices."""
    spent = Spent(each, 10 * each)
    counted = ResponseCounts(spent, spent, spent, Spent(each, 1), Spent(0, 0), spent)
    return VersionCounts("m", 1, responses=(counted,) * number)


def test_responses_are_added_index_by_index() -> None:
    """Also where one gateway has seen longer answers than the other."""
    total = sum_of(responses(3, 2), responses(1, 5))
    assert total == sum_of(responses(1, 5), responses(3, 2))
    assert [each.success for each in total.responses] == [Spent(7, 70), Spent(2, 20), Spent(2, 20)]
    assert total.responses[0].fail == Spent(7, 2)


def test_versions_are_kept_apart() -> None:
    """By model and by number."""
    counts = counted(version(1), version(2, number=2), version(3, model="n"))
    counts.add([version(10, number=2)])
    found = [counts.of(*key).execution_count for key in (("m", 1), ("m", 2), ("n", 1))]
    assert found == [1, 12, 3]


@pytest.mark.parametrize(
    "shape",
    [
        [],
        [0],
        [PART - 2, 0, 0],
        [PART - 1, 1],
        [PART, 1],
        [3 * PART + 5, 0, 7],
        [0] * (PART + 1),
    ],
)
def test_parts_fit_and_are_all_of_it(shape: list[int]) -> None:
    """Whatever was counted, no message grows without bound, and the other side knows the same."""
    whole = counted(*(version(9, *range(1, sizes + 1), number=n) for n, sizes in enumerate(shape)))
    again = Counts()
    for part in whole.parts():
        assert 0 < sum(1 + len(each.batches) for each in part) <= PART
        again.update(part)
    assert list(again) == list(whole)


def test_responses_go_with_every_part_of_their_version() -> None:
    """They have room in its messages, and arrive whole however many batch sizes there are."""
    yielding = responses(64)
    sizes = {size: BatchCounts() for size in range(1, 2 * PART)}
    cut = msgspec.structs.replace(yielding, batches=sizes)
    others = [msgspec.structs.replace(yielding, version=number) for number in range(2, 9)]
    whole = counted(cut, *others)
    again = Counts()
    for part in whole.parts():
        room = sum(1 + 2 * len(each.responses) + len(each.batches) for each in part)
        assert 0 < room <= PART
        again.update(part)
    assert list(again) == list(whole)
