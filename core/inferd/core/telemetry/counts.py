"""Counts of model versions: kept up to date by reports, added up over gateways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from operator import add

import msgspec

from inferd.core.link.messages import (
    BatchCounts,
    Buckets,
    MethodCounts,
    ResponseCounts,
    Sorted,
    Spent,
    VersionCounts,
)

PART = 512
"""Batch sizes in one message, or as much: 40 KB, far below what a socket takes at once. An index of
responses counts as two."""

_OF_VERSION = 8
"""Batch sizes that take as much room as the rest of a version."""

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
            whole = _OF_VERSION + 2 * len(counts.responses)
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


class Calls:
    """Calls that ended, by method and status code."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], MethodCounts] = {}

    def __iter__(self) -> Iterator[MethodCounts]:
        return iter(self._methods.values())

    def add(self, others: Iterable[MethodCounts]) -> None:
        """Count what others have counted, too."""
        for other in others:
            key = other.method, other.code
            own = self._methods.get(key, MethodCounts(*key))
            self._methods[key] = MethodCounts(
                *key,
                _spent(own.spent, other.spent),
                sum_of_buckets(own.buckets, other.buckets),
            )


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
        cancelled=one.cancelled + other.cancelled,
        errors=_by_name(one.errors, other.errors),
        received=one.received + other.received,
        sent=one.sent + other.sent,
        buckets=Sorted(
            **{
                name: sum_of_buckets(getattr(one.buckets, name), getattr(other.buckets, name))
                for name in Sorted.__struct_fields__
            }
        ),
        exemplar=max(
            filter(None, (one.exemplar, other.exemplar)), key=lambda each: each.epoch, default=None
        ),
        responses=tuple(
            [
                _response(*both)
                for both in zip_longest(one.responses, other.responses, fillvalue=ResponseCounts())
            ]
        ),
    )


def sum_of_buckets(one: Buckets, other: Buckets) -> Buckets:
    """Both added up; an empty one stands for nothing counted."""
    if not one or not other:
        return one or other
    return tuple(map(add, one, other))


def _by_name(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


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
