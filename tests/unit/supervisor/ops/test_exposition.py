"""The text that a scrape is answered with."""

from __future__ import annotations

import re

import msgspec
import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from inferd.core.link.messages import Exemplar
from inferd.core.telemetry.metrics import METRICS, Metric
from inferd.server.supervisor.ops.exposition import Exposition
from inferd.server.supervisor.ops.families import Families
from inferd.server.supervisor.ops.operations import SUBJECTS
from inferd.server.supervisor.ops.triton import TRITON_METRICS
from support.observation import COUNTS, OPENMETRICS, SEEN, one, parse, seen, series

MOST_SERIES = 130
"""Of one version on one worker: what a model adds to every scrape and to Prometheus' memory."""


def test_both_formats_say_the_same() -> None:
    """Prometheus asks for OpenMetrics, people for text; content types say which it is."""
    exposition = Exposition(SUBJECTS)
    plain, plain_type = exposition.render(SEEN, "text/plain")
    open_, open_type = exposition.render(SEEN, OPENMETRICS)
    assert plain_type.startswith("text/plain; version=0.0.4")
    assert open_type.startswith("application/openmetrics-text; version=1.0.0")
    assert open_.endswith(b"# EOF\n")
    read = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(plain.decode())
        for sample in family.samples
    }
    assert read == parse(open_.decode())


def test_prometheus_gets_openmetrics_when_there_is_an_exemplar() -> None:
    """It takes both; without exemplars plain text says the same for less."""
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    exposition = Exposition(SUBJECTS)
    assert exposition.render(SEEN, accept)[1].startswith("text/plain")
    traced = msgspec.structs.replace(COUNTS, exemplar=Exemplar("4bf92f", 0.02, 1000.0))
    text, content_type = exposition.render(seen(counts=(traced,)), accept)
    assert content_type.startswith("application/openmetrics-text")
    assert b'le="0.025"' in text
    assert b'# {trace_id="4bf92f"} 0.02 1000.0' in text


def test_the_series_of_a_model_are_bounded() -> None:
    """Whatever is sent: each version adds so many at most, besides reasons of errors that came up."""
    named = seen(
        counts=tuple(msgspec.structs.replace(COUNTS, model=name) for name in ("digits", "other"))
    )
    more = len(series(named, *SUBJECTS)) - len(series(seen(counts=(COUNTS,)), *SUBJECTS))
    assert 0 < more <= MOST_SERIES
    of_digits = [key for key in series(SEEN, *SUBJECTS) if ("model", "digits") in key[1]]
    assert len(of_digits) <= MOST_SERIES


def test_what_is_shown_is_declared() -> None:
    """With the declared labels; so the documentation, made of the declarations, is whole."""
    declared = {each.name: each for each in METRICS}
    for name, labels in series(SEEN, *SUBJECTS):
        base = re.sub("_(bucket|count|sum)$", "", name)
        metric = declared.get(name) or declared[base]
        assert {label for label, _ in labels} - {"le"} == set(metric.labels), name


def test_names_and_units_agree() -> None:
    """A metric in seconds says so in its name, a counter ends in `_total`, none has an odd letter."""
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.unit in metric.name.removesuffix("_total").split("_") or not metric.unit
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert metric.help, metric.name
        assert not metric.help.endswith("."), metric.name
    names = [each.name for each in (*METRICS, *TRITON_METRICS)]
    assert len(set(names)) == len(names)


def test_incidents_are_counted_by_opentelemetry_on_the_same_registry() -> None:
    """Each under its labels, and the last load's seconds."""
    exposition = Exposition(())
    told = exposition.instruments
    for _ in range(3):
        told.worker_restarted("m", 1, "signal")
    told.model_loaded("m", 1, 2.5)
    told.model_loaded("m", 1, 1.5)
    told.load_failed("n", 2)
    told.gateway_restarted("gateway-1")
    told.unanswered("gateway-2")
    found = parse(exposition.render(SEEN, OPENMETRICS)[0].decode())
    assert one(found, "inferd_worker_restarts_total", model="m", version="1", cause="signal") == 3
    assert one(found, "inferd_model_load_seconds", model="m", version="1") == 1.5
    assert one(found, "inferd_model_load_failures_total", model="n", version="2") == 1
    assert one(found, "inferd_gateway_restarts_total", gateway="gateway-1") == 1
    assert one(found, "inferd_scrape_unanswered_total", process="gateway-2") == 1


def test_incidents_are_told_apart_however_many_versions_there_were() -> None:
    """OpenTelemetry would put those beyond its limit together, under a label of its own."""
    exposition = Exposition(())
    for number in range(1000):
        exposition.instruments.model_loaded("m", number, 1.0)
        exposition.instruments.worker_restarted("m", number, "exit")
    found = parse(exposition.render(SEEN, OPENMETRICS)[0].decode())
    restarts = [
        value for (name, _), value in found.items() if name == "inferd_worker_restarts_total"
    ]
    assert sum(restarts) == 1000
    assert one(found, "inferd_worker_restarts_total", version="999", cause="exit") == 1


def test_a_bucket_points_out_the_trace_that_was_counted_in_it() -> None:
    """As an exemplar of OpenMetrics, in the smallest bucket that holds it."""
    metric = Metric("spent_seconds", "histogram", "Time", ("m",), "seconds", (0.1, 1.0))
    families = Families(generate_latest)
    families.add_buckets(metric, ("a",), (1, 1, 0), 0.6, seen=Exemplar("abc", 0.5, 1000.0))
    pointed = [line for line in families.text().splitlines() if b" # " in line]
    assert pointed == [b'spent_seconds_bucket{le="1.0",m="a"} 2.0 # {trace_id="abc"} 0.5 1000.0']


def test_what_stays_the_same_is_not_written_again() -> None:
    """Only what has changed is; what is no longer there is forgotten."""
    written: list[bytes] = []

    def encode(collector: Collector) -> bytes:
        written.append(generate_latest(collector))  # type: ignore[no-untyped-call]  # it has no types
        return written[-1]

    metric = Metric("waiting", "gauge", "Who waits", ("m",))
    families = Families(encode)
    for values in ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}, {"a": 1, "b": 3}):
        for name, value in values.items():
            families.add(metric, (name,), value)
        assert [
            line for line in families.text().decode().splitlines() if not line.startswith("#")
        ] == [f'waiting{{m="{name}"}} {float(value)}' for name, value in values.items()]
    assert len(written) == 2 + 1 + 0 + 1


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "ä"])
def test_odd_names_are_escaped(name: str) -> None:
    """They come back as they were."""
    odd = msgspec.structs.replace(COUNTS, model=name)
    found = series(seen(counts=(odd,)), *SUBJECTS[:1])
    assert one(found, "inferd_rows_total", model=name) == 6
