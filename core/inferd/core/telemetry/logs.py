"""Structured logs on stderr: readable on a terminal, JSON in ECS names everywhere else."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from collections.abc import MutableMapping
from importlib.metadata import version as package_version
from types import TracebackType
from typing import Any, TextIO

import ecs_logging
import structlog
from structlog.typing import Processor

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "console")

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
"""Key words that have a name in the Elastic Common Schema. All others go under `inferd.`.

Besides, `duration_ms` becomes `event.duration`, which ECS has in nanoseconds.
"""

# C0 and C1 controls but the line feed of a traceback, and what reorders text on a terminal.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def configure(level: str, format: str, process: str, stream: TextIO | None = None) -> str:  # noqa: A002
    """Send this process's logs, its libraries' too, to `stream` (stderr); the format chosen.

    `level` is one of `LEVELS`. `format` is one of `FORMATS`; `auto` is `console` on a terminal
    and `json` elsewhere, and the return value says which. `process` names this process in every
    line. Raises `ValueError` for another level or format.
    """
    _check("log level", level, LEVELS)
    _check("log format", format, FORMATS)
    out = sys.stderr if stream is None else stream
    if format == "auto":
        format = "console" if out.isatty() else "json"  # noqa: A001
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process, structured=format == "json"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last = _json() if format == "json" else _console(colors=out.isatty() and _wants_colour())
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    return format


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; key words become fields: `log.info("model loaded", model=name)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def log_uncaught() -> None:
    """From now on log what nobody catches, here or in a thread, instead of printing it."""
    log = get_logger("inferd.uncaught")

    def main(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        log.error("uncaught exception", exc_info=(kind, error, at))

    def thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit and found.exc_value is not None:
            name = found.thread.name if found.thread is not None else ""
            log.error(
                "uncaught exception",
                thread=name,
                exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
            )

    sys.excepthook = main
    threading.excepthook = thread


def escape(text: str) -> str:
    r"""`text` with control characters as `\xNN`, so that it cannot forge a line or drive a terminal."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"{what} '{escape(value)}' is unknown; expected one of: {', '.join(known)}"
        )


def _wants_colour() -> bool:
    return "NO_COLOR" not in os.environ


def _named(process: str, *, structured: bool) -> Processor:
    version = package_version("inferd")

    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if structured:
            event["service.name"] = "inferd"
            event["service.version"] = version
            event["process.pid"] = os.getpid()
            event["process.title"] = process
        else:
            event["process"] = process
        return event

    return add


def _json() -> list[Processor]:
    # JSON escapes control characters by itself; the formatter adds time, ECS version and order.
    ecs: Processor = ecs_logging.StructlogFormatter()  # type: ignore[assignment] # wants a dict, which structlog's events are
    return [_with_error, structlog.processors.format_exc_info, _in_ecs, ecs]


def _with_error(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The kind and the text of an exception, besides its traceback."""
    found = event.get("exc_info")
    if isinstance(found, tuple):
        found = found[1]
    elif found and not isinstance(found, BaseException):
        found = sys.exc_info()[1]
    if isinstance(found, BaseException):
        event["error.type"] = type(found).__name__
        event.setdefault("error", str(found))
    return event


def _in_ecs(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The names of the Elastic Common Schema; fields of ours go under `inferd.`."""
    named: dict[str, Any] = {
        "@timestamp": event.pop("timestamp"),
        "log.level": event.pop("level", "info"),
        "event": event.pop("event", ""),  # the formatter calls it message
    }
    if (logger := event.pop("logger", None)) is not None:
        named["log.logger"] = logger
    if (trace := event.pop("exception", None)) is not None:
        named["error.stack_trace"] = trace
    if (milliseconds := event.pop("duration_ms", None)) is not None:
        named["event.duration"] = round(milliseconds * 1e6)
    for key, value in event.items():
        name = ECS_NAMES.get(key) or (key if "." in key else f"inferd.{key}")
        named[name] = value if _plain(value) else str(value)
    return named


def _plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)  # JSON has no word for others
    return value is None or isinstance(value, bool | int | str)


def _console(*, colors: bool) -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        _escaped,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _escaped(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if not isinstance(value, str) and _plain(value):
            continue
        # Only a traceback may have lines of its own.
        text = escape(str(value))
        event[key] = text if key == "exception" else text.replace("\n", "\\n")
    return event
