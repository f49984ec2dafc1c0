"""Lines of a log as JSON, in the names of the Elastic Common Schema."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from json.encoder import encode_basestring_ascii as _quoted
from operator import itemgetter
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
    a dot in its name; other names are nested. Made for many lines a second, of which the sets of
    names are few: how lines with the same names look is worked out once.
    """

    def __init__(self, process: str) -> None:
        """`process` is what this one is called."""
        self._process = process

    def line(self, timestamp: str, level: str, message: str, fields: Mapping[str, Any]) -> str:
        """One line, without its end. `timestamp` is in the format of RFC 3339."""
        between, in_order = _shape(self._process, tuple(fields))
        values = [_quoted(timestamp), _quoted(level), _quoted(message), str(os.getpid())]
        for key, value in fields.items():
            if key == "duration_ms" and value is not None:
                value = round(value * 1e6)  # noqa: PLW2901  # the same in another unit
            if type(value) is str:  # most are one of these two, and need no encoder
                values.append(_quoted(value))
            elif type(value) is int:
                values.append(str(value))
            else:
                values.append(_encode(value if _plain(value) else str(value)))
        pieces = [*between]
        pieces[1::2] = in_order(values)
        return _without_del("".join(pieces))


def encode(document: Mapping[str, Any]) -> str:
    """JSON in one line: what is no printable ASCII is escaped, so nothing in it drives a terminal."""
    return _without_del(_encode(document))


def _without_del(line: str) -> str:
    return line.replace("\x7f", "\\u007f")  # the one control that JSON lets be


Node = dict[str, "Node | str | int"]
"""What a line looks like: texts are there in each, numbers say which of a line's values is there."""


@lru_cache(1024)
def _shape(
    process: str, names: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[list[str]], tuple[str, ...]]]:
    """Lines with fields of these names: the text around each value, and what brings values into order.

    Every other text is empty, where a value goes. Values are those that each line has (time, level,
    message, pid), then the fields.
    """
    document: Node = {
        "@timestamp": 0,
        "log.level": 1,
        "message": 2,
        "ecs.version": _SCHEMA,
        "service": {"name": "inferd", "version": version("inferd")},
        "process": {"pid": 3, "title": process},
    }
    for number, name in enumerate(names, 4):
        parents, last = _place(name)
        into = document
        for part in parents:
            inner = into.setdefault(part, {})
            if not isinstance(inner, dict):  # a library's `a` and `a.b`
                into, last = document, ".".join([*parents, last])
                break
            into = inner
        if isinstance(into.get(last), dict):
            into, last = document, ".".join([*parents, last])
        into[last] = number
    order: list[int] = []
    between = _around(document, order)
    return tuple(between), itemgetter(*order)


def _around(node: Node, order: list[int]) -> list[str]:
    """`node` as JSON, with an empty text for each value; which they are is added to `order`."""
    texts = ["{"]
    for at, (name, each) in enumerate(node.items()):
        texts[-1] += f"{',' if at else ''}{_quoted(name)}:"
        if isinstance(each, int):
            order.append(each)
            texts += ["", ""]
        elif isinstance(each, dict):
            first, *more = _around(each, order)
            texts[-1] += first
            texts += more
        else:
            texts[-1] += _quoted(each)
    texts[-1] += "}"
    return texts


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
