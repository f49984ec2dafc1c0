"""OTEL_* variables that OpenTelemetry's SDK could not work with are refused before it reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanLimits

from inferd.core import settings
from inferd.core.settings import SettingsError

MALFORMED = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["abc", "", "0", "-1", "nan", "inf"],
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ["10s"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": [
        "nonsense", "", "http://", "http://collector:port", "http://collector:70000",
        "collector:0", "ftp://collector:21", "http://a b:1",
    ],
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ["4317"],
    "OTEL_EXPORTER_OTLP_COMPRESSION": ["deflate", "none", ""],
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE": ["yes", ""],
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ["/no/such/file.pem"],
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": ["nobody"],
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": ["UNAVAILABLE,X"],
    "OTEL_RESOURCE_ATTRIBUTES": ["garbage", "a=b,c", "a=b,", "=b"],
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ["x", "-1"],
    "OTEL_METRICS_EXEMPLAR_FILTER": ["some", ""],
}  # fmt: skip

WELL = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["10", "0.5"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": [
        "http://127.0.0.1:4317", "https://collector.example/", "http://[::1]:4317", "collector:4317",
        "unix:///run/collector.sock", "dns:///collector:4317",
    ],
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ["", "http://collector:4317"],
    "OTEL_EXPORTER_OTLP_HEADERS": ["", "authorization=Bearer%20abc=,x-tenant = one ", "a=b c,"],
    "OTEL_EXPORTER_OTLP_COMPRESSION": ["gzip", "GZIP", " gzip"],
    "OTEL_EXPORTER_OTLP_INSECURE": ["true", "False"],
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": ["unavailable, INTERNAL", ""],
    "OTEL_RESOURCE_ATTRIBUTES": ["", "deployment.environment=test,team=a%2Cb"],
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ["", "0", " 128 "],
    "OTEL_METRICS_EXEMPLAR_FILTER": ["always_off"],
}  # fmt: skip


def _each(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in table.items() for value in values]


def _read(
    environment: dict[str, str], folder: Path, tracing: Literal["off", "otlp", "console"] = "otlp"
) -> None:
    empty = folder / "inferd.toml"
    empty.write_text("")
    settings.read({"tracing": tracing}, environment, empty)


@pytest.mark.parametrize(("name", "value"), _each(MALFORMED))
def test_malformed_ones_are_told(name: str, value: str, tmp_path: Path) -> None:
    """One line: which variable, what it is, what is expected."""
    with pytest.raises(SettingsError) as caught:
        _read({name: value}, tmp_path)
    told = str(caught.value)
    assert told.startswith(f"variable {name} is {value!r}: expected ")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("name", "value"), _each(WELL))
def test_what_the_sdk_takes_is_taken(
    name: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Values that are accepted neither stop the SDK nor have it complain."""
    _read({name: value}, tmp_path)
    monkeypatch.setenv(name, value)
    SpanLimits()
    MeterProvider(shutdown_on_exit=False).shutdown()
    OTLPSpanExporter().shutdown()
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEADERS", "hunter2"),
        ("TRACES_HEADERS", "a b=hunter2"),
        ("HEADERS", "key=hunter2;x"),
        ("HEADERS", "key=hunter2%C3%A9"),
        ("HEADERS", "key-bin=hunter2"),
        ("HEADERS", " Grpc-key=hunter2"),
        ("ENDPOINT", "http://me:hunter2@collector:4317"),
        ("ENDPOINT", "collector:4317/?token=hunter2"),
        ("CLIENT_KEY", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"),
    ],
)
def test_secrets_are_refused_without_being_told(name: str, value: str, tmp_path: Path) -> None:
    """What headers have, and the password that an address does not take."""
    variable = f"OTEL_EXPORTER_OTLP_{name}"
    with pytest.raises(SettingsError, match=f"variable {variable} is not as it should") as caught:
        _read({variable: value}, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_what_nobody_reads_is_let_be(tmp_path: Path) -> None:
    """The exporter's without one, all of them where nothing is traced, others' always."""
    _read({"OTEL_EXPORTER_OTLP_TIMEOUT": "abc"}, tmp_path, "console")
    _read({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x"}, tmp_path, "off")
    _read({"OTEL_BSP_SCHEDULE_DELAY": "x", "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "x"}, tmp_path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A line for each variable."""
    with pytest.raises(SettingsError) as caught:
        _read({"OTEL_EXPORTER_OTLP_TIMEOUT": "x", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x"}, tmp_path)
    assert len(str(caught.value).splitlines()) == 2
