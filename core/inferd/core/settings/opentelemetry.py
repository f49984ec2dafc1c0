"""OpenTelemetry's own variables, read by its SDK: what it would trip over is told beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from math import inf
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

_PLAIN = re.compile(r"[^\n@?]{0,100}")

_HEADER = re.compile(
    r"\s*(?![\w.-]*-bin\s*=)(?!grpc-)[\w.-]+\s*=[\x20!#-+\--:<-\[\]-~]*", re.ASCII | re.IGNORECASE
)
"""As the SDK takes them: the rest would be left out, and logged with its secrets.

Names in -bin want bytes, which a variable has not, and those in grpc- are the library's own.
"""

_TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d{1,5})", re.ASCII)
_GRPC_TARGET = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S+")

_CODES = frozenset({
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
})  # fmt: skip

Check = Callable[[str], bool]
"""Whether the SDK gets along with a value."""


def mistakes(tracing: Literal["off", "otlp", "console"], found: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable in `found` that the server, tracing like this, cannot work with.

    What only an exporter that is not used would read is not looked at. Told are values that cannot
    be secrets: not headers, nor addresses with a password or a query, nor a key instead of its file.
    """
    for kind, variables in _VARIABLES.items():
        if kind not in _READ[tracing]:
            continue
        for name, (check, expected) in variables.items():
            value = found.get(name)
            if value is not None and not check(value):
                plain = not name.endswith("_HEADERS") and _PLAIN.fullmatch(value) is not None
                told = repr(value) if plain else "not as it should be"
                yield f"variable {name} is {told}: expected {expected}"


def _is_seconds(value: str) -> bool:
    try:
        return 0 < float(value) < inf
    except ValueError:
        return False


def _is_limit(value: str) -> bool:
    text = value.strip()
    return not text or (text.isascii() and text.isdigit())


def _is_endpoint(value: str) -> bool:
    try:
        url = urlsplit(value)
        if url.scheme in ("http", "https"):
            return _is_target(url.netloc if url.port is not None else f"{url.netloc}:443")
    except ValueError:  # of its port
        return False
    return _is_target(value) or _GRPC_TARGET.fullmatch(value) is not None


def _is_target(value: str) -> bool:
    found = _TARGET.fullmatch(value)
    return found is not None and 0 < int(found["port"]) < 1 << 16


def _are_pairs(value: str) -> bool:
    pairs = (each.partition("=") for each in value.split(","))
    return not value or all(separator and key.strip() for key, separator, _ in pairs)


def _are_headers(value: str) -> bool:
    items = [each for each in value.split(",") if each.strip()]
    # Decoded they become gRPC metadata, which is printable ASCII.
    return all(
        _HEADER.fullmatch(each) and unquote(each).isascii() and unquote(each).isprintable()
        for each in items
    )


def _is_file(value: str) -> bool:
    if not value:
        return True
    try:
        with Path(value).open("rb"):
            return True
    except OSError:
        return False


def _is_provider(value: str) -> bool:
    group = "opentelemetry_otlp_credential_provider"
    return not value or bool(entry_points(group=group, name=value))


def _are_codes(value: str) -> bool:
    return all(each.strip().upper() in _CODES for each in value.split(",") if each.strip())


def _one_of(*words: str, in_any_case: bool = False) -> tuple[Check, str]:
    def check(value: str) -> bool:
        return (value.strip().lower() if in_any_case else value) in words

    return check, " or ".join(words)


_ENDPOINT = "a collector for OTLP over gRPC, such as http://127.0.0.1:4317"
_SECONDS = (_is_seconds, "a number of seconds more than 0")
_HEADERS = (_are_headers, "name=value pairs in printable ASCII, with commas between them")
_FILE = (_is_file, "a file in PEM that can be read")

_VARIABLES: Mapping[str, Mapping[str, tuple[Check, str]]] = {
    "metrics": {
        "OTEL_METRICS_EXEMPLAR_FILTER": _one_of("trace_based", "always_on", "always_off"),
    },
    "spans": {
        "OTEL_RESOURCE_ATTRIBUTES": (_are_pairs, "key=value pairs with commas between them"),
        # Read when the SDK is imported, though these spans are not its own.
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": (_is_limit, "a whole number, at least 0"),
    },
    "otlp": {
        "OTEL_EXPORTER_OTLP_ENDPOINT": (_is_endpoint, _ENDPOINT),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": (
            lambda value: not value or _is_endpoint(value),
            _ENDPOINT,
        ),
        **{
            f"OTEL_EXPORTER_OTLP_{signal}{name}": check
            for signal in ("", "TRACES_")
            for name, check in {
                "TIMEOUT": _SECONDS,
                "HEADERS": _HEADERS,
                "COMPRESSION": _one_of("gzip", in_any_case=True),
                "INSECURE": _one_of("true", "false", in_any_case=True),
                "CERTIFICATE": _FILE,
                "CLIENT_KEY": _FILE,
                "CLIENT_CERTIFICATE": _FILE,
            }.items()
        },
        **{
            f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{signal}CREDENTIAL_PROVIDER": (
                _is_provider,
                "the name of an installed credential provider",
            )
            for signal in ("", "TRACES_")
        },
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": (
            _are_codes,
            "names of gRPC status codes with commas between them",
        ),
    },
}
"""By what reads them. An empty value is refused where the SDK does not take it for none."""

_READ = {
    "off": ("metrics",),
    "console": ("metrics", "spans"),
    "otlp": ("metrics", "spans", "otlp"),
}
