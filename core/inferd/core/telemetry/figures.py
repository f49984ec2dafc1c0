"""Rates, mean times and quantiles: what counts come to between two looks at them."""

from __future__ import annotations

from collections.abc import Sequence

from inferd.core.telemetry.status import Figures, Totals


def figures(earlier: Totals, later: Totals, seconds: float, bounds: Sequence[float]) -> Figures:
    """What was counted in the `seconds` between two totals; `bounds` are those of their buckets."""
    if seconds <= 0:
        return Figures()
    answered = later.answered - earlier.answered
    errors = later.errors - earlier.errors
    rows, batches = later.rows - earlier.rows, later.batches - earlier.batches
    mean = _ratio(later.seconds - earlier.seconds, answered)
    counts = _grown(earlier.buckets, later.buckets)
    return Figures(
        requests_per_second=(later.requests - earlier.requests) / seconds,
        errors_per_second=errors / seconds,
        rows_per_second=rows / seconds,
        error_share=_ratio(errors, answered + errors),
        mean_seconds=mean,
        p50_seconds=quantile(0.5, counts, bounds),
        p95_seconds=quantile(0.95, counts, bounds),
        p99_seconds=quantile(0.99, counts, bounds),
        batch_rows=_ratio(rows, batches),
        speed=1 / mean if mean else None,
    )


def quantile(share: float, counts: Sequence[int], bounds: Sequence[float]) -> float | None:
    """The value below which `share` of what `counts` sorted lies; None where nothing was counted.

    An estimate, as Prometheus' histogram_quantile makes it: values lie evenly in their bucket, whose first
    begins at 0; a quantile beyond the last of `bounds` is that bound. `counts` has one more, for the rest.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below, lower = share * total, 0, 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below, lower = below + count, upper
    return lower


def _grown(earlier: Sequence[int], later: Sequence[int]) -> Sequence[int]:
    """How many came into each bucket; an empty one stands for nothing counted."""
    if not earlier:
        return later
    return [new - old for old, new in zip(earlier, later, strict=True)]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
