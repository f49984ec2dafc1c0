"""Series of declared metrics as text: written by prometheus_client, and remembered while they stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    UntypedMetricFamily,
)
from prometheus_client.core import Exemplar as PointedOut
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.registry import Collector

from inferd.core.link.messages import Exemplar
from inferd.core.telemetry.metrics import Metric

Encode = Callable[[Collector], bytes]
"""One of prometheus_client's formats."""

_MAKERS: dict[str, Callable[..., PrometheusMetric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "untyped": UntypedMetricFamily,
}


class Families:
    """Gathers series, scrape by scrape; each metric becomes one family, in the order in which they come up.

    To write a series costs ten microseconds or more a line, and most are as they were a scrape ago.
    """

    def __init__(self, encode: Encode) -> None:
        """`encode` writes them."""
        self._encode = encode
        self._heads: dict[str, bytes] = {}
        self._known: dict[tuple[str, Sequence[str]], tuple[object, bytes]] = {}
        self._current: dict[tuple[str, Sequence[str]], tuple[object, bytes]] = {}
        self._families: dict[str, list[bytes]] = {}

    def text(self) -> bytes:
        """All that was added since this was called last; series that were not are forgotten."""
        text = b"".join(
            part for name, parts in self._families.items() for part in (self._heads[name], *parts)
        )
        self._known, self._current, self._families = self._current, {}, {}
        return text

    def add(self, metric: Metric, labels: Sequence[str], value: float | None) -> None:
        """One series of a counter or gauge; `labels` in the metric's order. None is left out."""
        if value is not None:
            self._add(metric, labels, value, lambda family: family.add_metric(labels, value))

    def add_buckets(
        self,
        metric: Metric,
        labels: Sequence[str],
        counts: Sequence[int],
        total: float,
        *,
        bounds: Sequence[float] | None = None,
        seen: Exemplar | None = None,
    ) -> None:
        """One series of a histogram: how many per bucket of `bounds`, and their sum.

        `bounds` are the metric's own, unless it was counted in finer ones, of which its are some.
        `seen` is a request that was counted, to be pointed out in its bucket.
        """
        if counts:
            self._add(
                metric,
                labels,
                (tuple(counts), total, seen),
                lambda family: family.add_metric(
                    labels, _buckets(metric, counts, bounds or metric.buckets, seen), total
                ),
            )

    def _add(
        self,
        metric: Metric,
        labels: Sequence[str],
        value: object,
        fill: Callable[[Any], None],
    ) -> None:
        key = metric.name, tuple(labels)
        known = self._known.get(key)
        if known is None or known[0] != value:
            known = value, self._write(metric, fill)
        self._current[key] = known
        self._families.setdefault(metric.name, []).append(known[1])

    def _write(self, metric: Metric, fill: Callable[[Any], None]) -> bytes:
        family = _MAKERS[metric.kind](
            metric.name, metric.help, labels=metric.labels, unit=metric.unit
        )
        fill(family)
        lines = self._encode(_Only(family)).splitlines(keepends=True)
        # Comments are the family's head, and in OpenMetrics the end of the text.
        head = [line for line in lines if line.startswith(b"#") and line != b"# EOF\n"]
        self._heads[metric.name] = b"".join(head)
        return b"".join(line for line in lines if not line.startswith(b"#"))


class _Only(Collector):
    """A registry of one family."""

    def __init__(self, family: PrometheusMetric) -> None:
        self._family = family

    def collect(self) -> Iterable[PrometheusMetric]:
        """It."""
        return (self._family,)


def _buckets(
    metric: Metric, counts: Sequence[int], bounds: Sequence[float], seen: Exemplar | None
) -> list[tuple[str, float] | tuple[str, float, PointedOut]]:
    """Counts up to each of the metric's bounds, and in all."""
    upto = dict(zip(bounds, accumulate(counts), strict=False))
    buckets: list[tuple[str, float] | tuple[str, float, PointedOut]] = []
    for bound in metric.buckets:
        name = str(float(bound))
        if seen is not None and seen.seconds <= bound:
            pointer = PointedOut({"trace_id": seen.trace_id}, seen.seconds, seen.epoch)
            buckets.append((name, upto[bound], pointer))
            seen = None
        else:
            buckets.append((name, upto[bound]))
    buckets.append(("+Inf", sum(counts)))
    return buckets
