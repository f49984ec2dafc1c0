"""Series of declared metrics, as prometheus_client shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    UntypedMetricFamily,
)
from prometheus_client.core import Exemplar as PointedOut
from prometheus_client.core import Metric as PrometheusMetric

from inferd.core.link.messages import Exemplar
from inferd.core.telemetry.metrics import Metric

_MAKERS: dict[str, Callable[..., PrometheusMetric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "untyped": UntypedMetricFamily,
}


class Families:
    """Gathers series; each metric becomes one family, in the order in which they come up."""

    def __init__(self) -> None:
        self._families: dict[str, PrometheusMetric] = {}

    def __iter__(self) -> Iterator[PrometheusMetric]:
        return iter(self._families.values())

    def add(self, metric: Metric, labels: Sequence[str], value: float | None) -> None:
        """One series of a counter or gauge; `labels` in the metric's order. None is left out."""
        if value is None:
            return
        family = self._families.get(metric.name)
        if family is None:
            make = _MAKERS[metric.kind]
            family = make(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
            self._families[metric.name] = family
        family.add_metric(labels, value)  # type: ignore[attr-defined]  # both kinds have it

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
        family = self._families.get(metric.name)
        if family is None:
            family = HistogramMetricFamily(
                metric.name, metric.help, labels=metric.labels, unit=metric.unit
            )
            self._families[metric.name] = family
        if not counts:
            return
        upto = dict(zip(bounds or metric.buckets, accumulate(counts), strict=False))
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
        family.add_metric(labels, buckets, total)  # type: ignore[attr-defined]  # it is a histogram
