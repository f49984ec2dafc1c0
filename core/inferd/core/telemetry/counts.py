"""Counts of model versions: kept up to date by reports, added up over gateways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import msgspec

from inferd.core.link.messages import BatchCounts, ResponseCounts, Spent, VersionCounts

PART = 512
"""Versions, batch sizes and, twice as large, responses in one message: 40 KB, far below what a socket
takes at once."""

_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


class Counts:
    """What was counted, by model and version."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], VersionCounts] = {}

    def __iter__(self) -> Iterator[VersionCounts]:
        return iter(self._versions.values())

    def of(self, model: str, version: int) -> VersionCounts:
        """The counts of one version: zeros for one that nobody has counted."""
        return self._versions.get((model, version), VersionCounts(model, version))

    def update(self, report: Iterable[VersionCounts]) -> None:
        """Newer totals replace what was known; batch sizes that they do not name stay."""
        for newer in report:
            known = self.of(newer.model, newer.version).batches
            batches = {**known, **newer.batches}
            self._versions[newer.model, newer.version] = msgspec.structs.replace(
                newer, batches=batches
            )

    def add(self, others: Iterable[VersionCounts]) -> None:
        """Count what others have counted, too."""
        for other in others:
            own = self.of(other.model, other.version)
            self._versions[other.model, other.version] = sum_of(own, other)

    def parts(self) -> Iterator[tuple[VersionCounts, ...]]:
        """All of it in pieces that fit into a message each; together they `update` to the same."""
        part: list[VersionCounts] = []
        room = PART
        for counts in self:
            batches = list(counts.batches.items())
            whole = 1 + 2 * len(counts.responses)
            while True:
                if part and room <= whole:
                    yield tuple(part)
                    part, room = [], PART
                taken, batches = batches[: room - whole], batches[room - whole :]
                part.append(msgspec.structs.replace(counts, batches=dict(taken)))
                room -= whole + len(taken)
                if not batches:
                    break
        if part:
            yield tuple(part)


def sum_of(one: VersionCounts, other: VersionCounts) -> VersionCounts:
    """Both counts of the same version added up; the last inference is the later one."""
    sizes = sorted({*one.batches, *other.batches})
    return VersionCounts(
        one.model,
        one.version,
        one.inference_count + other.inference_count,
        one.execution_count + other.execution_count,
        max(one.last_inference, other.last_inference),
        **{name: _spent(getattr(one, name), getattr(other, name)) for name in _DURATIONS},
        batches={size: _batch(one.batches.get(size), other.batches.get(size)) for size in sizes},
        responses=tuple(
            [
                _response(*both)
                for both in zip_longest(one.responses, other.responses, fillvalue=ResponseCounts())
            ]
        ),
    )


def _batch(one: BatchCounts | None, other: BatchCounts | None) -> BatchCounts:
    if one is None or other is None:
        return one or other or BatchCounts()
    return BatchCounts(
        _spent(one.compute_input, other.compute_input),
        _spent(one.compute_infer, other.compute_infer),
        _spent(one.compute_output, other.compute_output),
    )


def _response(one: ResponseCounts, other: ResponseCounts) -> ResponseCounts:
    names = ResponseCounts.__struct_fields__
    return ResponseCounts(*[_spent(getattr(one, name), getattr(other, name)) for name in names])


def _spent(one: Spent, other: Spent) -> Spent:
    return Spent(one.count + other.count, one.ns + other.ns)
