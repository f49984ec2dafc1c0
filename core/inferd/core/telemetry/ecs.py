"""Lines of a log as JSON, in the names of the Elastic Common Schema."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any

ECS_NAMES = {
    "trace_id": "trace.id",
    "span_id": "span.id",
    "request_id": "http.request.id",
    "error": "error.message",
    "error_id": "error.id",
    "error_code": "error.code",
    "dataset": "event.dataset",
    "outcome": "event.outcome",
    "bytes_in": "http.request.body.bytes",
    "bytes_out": "http.response.body.bytes",
    "http_status": "http.response.status_code",
    "protocol": "network.protocol",
    "peer": "client.address",
    "peer_ip": "client.ip",
    "peer_port": "client.port",
}
"""Key words that have a name in the schema. All others go under `inferd.`.

Besides, `duration_ms` becomes `event.duration`, which ECS has in nanoseconds.
"""

_STRUCTLOG = {"logger": "log.logger", "exception": "error.stack_trace"}
"""What structlog adds by itself."""

_SCHEMA = "1.6.0"
_PLAIN = (str, int, bool)

_encode = json.JSONEncoder(separators=(",", ":")).encode


class EcsLines:
    """Makes lines in the name of a process.

    As the specification of ECS logging wants it: time, level and message come first, the level with
    a dot in its name; other names are nested. Made for many lines a second, of which the names are
    few: each is taken apart once.
    """

    def __init__(self, process: str) -> None:
        """`process` is what this one is called."""
        self._process = process
        self._service = {"name": "inferd", "version": version("inferd")}

    def line(self, timestamp: str, level: str, message: str, fields: Mapping[str, Any]) -> str:
        """One line, without its end. `timestamp` is in the format of RFC 3339."""
        document: dict[str, Any] = {
            "@timestamp": timestamp,
            "log.level": level,
            "message": message,
            "ecs.version": _SCHEMA,
            "service": self._service.copy(),
            "process": {"pid": os.getpid(), "title": self._process},
        }
        for key, value in fields.items():
            if key == "duration_ms" and value is not None:
                value = round(value * 1e6)  # noqa: PLW2901  # the same in another unit
            parents, last = _place(key)
            into = document
            for part in parents:
                into = into.setdefault(part, {})
                if not isinstance(into, dict):  # a library's `a` and `a.b`
                    into, last = document, ".".join([*parents, last])
                    break
            if isinstance(into.get(last), dict):
                into, last = document, ".".join([*parents, last])
            into[last] = value if _plain(value) else str(value)
        return encode(document)


def encode(document: Mapping[str, Any]) -> str:
    """JSON in one line: what is no printable ASCII is escaped, so nothing in it drives a terminal."""
    return _encode(document).replace("\x7f", "\\u007f")  # the one control that JSON lets be


@lru_cache(1024)
def _place(key: str) -> tuple[tuple[str, ...], str]:
    """Where a field lies: the names of what it is in, and its own."""
    if key == "duration_ms":
        return ("event",), "duration"
    name = ECS_NAMES.get(key) or _STRUCTLOG.get(key) or (key if "." in key else f"inferd.{key}")
    *parents, last = name.split(".")
    return tuple(parents), last


def _plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)  # JSON has no word for others
    return value is None or isinstance(value, _PLAIN)
