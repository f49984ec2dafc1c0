"""Counts what befalls the server, on OpenTelemetry's instruments."""

from __future__ import annotations

from typing import get_args

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import MeterProvider, _Gauge
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from inferd.core.telemetry import metrics
from inferd.server.supervisor.incidents import Cause, Incidents

MOST_SERIES = 1_000_000
"""Of one instrument: three or fewer for each version that was ever loaded."""


class Instruments(Incidents):
    """Rare events of this process; what is counted per request comes from the gateways."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Have `registry` show what is counted."""
        reader = PrometheusMetricReader(
            disable_target_info=True,
            scope_info_enabled=False,
            registry=registry,
            # By itself it merges what goes beyond 2,000; here it is models that are loaded that count.
            cardinality_limits={SdkCounter: MOST_SERIES, _Gauge: MOST_SERIES},
        )
        provider = MeterProvider([reader], Resource.get_empty(), shutdown_on_exit=False)
        self._meter = provider.get_meter("inferd")
        self._restarts = self._counter(metrics.WORKER_RESTARTS)
        self._failures = self._counter(metrics.LOAD_FAILURES)
        self._gateway_restarts = self._counter(metrics.GATEWAY_RESTARTS)
        self._unanswered = self._counter(metrics.SCRAPE_UNANSWERED)
        self._load_seconds = self._meter.create_gauge(
            metrics.MODEL_LOAD.name, description=metrics.MODEL_LOAD.help
        )

    def worker_restarted(self, model: str, version: int, cause: Cause) -> None:
        """A worker that had served was lost and will be started again."""
        self._restarts.add(1, {**_labels(model, version), "cause": cause})

    def model_loaded(self, model: str, version: int, seconds: float) -> None:
        """A worker has loaded its model and warmed up."""
        labels = _labels(model, version)
        self._load_seconds.set(seconds, labels)
        # A series that began at 1 would not have increased, for whoever asks Prometheus by how much it did.
        self._failures.add(0, labels)
        for cause in get_args(Cause):
            self._restarts.add(0, {**labels, "cause": cause})

    def load_failed(self, model: str, version: int) -> None:
        """A version could not be loaded, or one of its workers could not."""
        self._failures.add(1, _labels(model, version))

    def gateway_expected(self, gateway: str) -> None:
        """There is to be a gateway of this name: what befalls it is shown from 0 on."""
        self._gateway_restarts.add(0, {"gateway": gateway})
        self._unanswered.add(0, {"process": gateway})

    def gateway_restarted(self, gateway: str) -> None:
        """A gateway was lost and will be started again."""
        self._gateway_restarts.add(1, {"gateway": gateway})

    def unanswered(self, process: str) -> None:
        """A process was asked for figures and did not answer in time."""
        self._unanswered.add(1, {"process": process})

    def _counter(self, metric: metrics.Metric) -> Counter:
        return self._meter.create_counter(metric.name, description=metric.help)


def _labels(model: str, version: int) -> dict[str, str]:
    return {"model": model, "version": str(version)}
