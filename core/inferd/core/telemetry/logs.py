"""Structured logs on stderr: readable on a terminal, JSON in ECS names everywhere else."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from inferd.core.telemetry.ecs import EcsLines

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "console")

_AT_ONCE = 4096
"""Bytes that a pipe takes in one piece (PIPE_BUF): other processes write to the same."""

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
    handler: logging.StreamHandler[TextIO]
    if format == "json":
        lines = EcsLines(process)
        handler, last = _JsonHandler(out, lines), _json(lines)
    else:
        handler = logging.StreamHandler(out)
        last = _console(process, colors=out.isatty() and _wants_colour())
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


def info_each(name: str, event: str, each: Iterable[tuple[float, Mapping[str, object]]]) -> None:
    """Log many lines of one kind at level info: what happened when, and its fields.

    Moments are in seconds since the epoch. As JSON the lines have them, come whatever the level is, and
    cost a small part of single ones; else they are single ones.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _JsonHandler):
            handler.info_each(name, event, each)
            return
    log = get_logger(name)
    for _, fields in each:
        log.info(event, **fields)


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


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes JSON, single lines as the formatter makes them and many without its steps."""

    def __init__(self, stream: TextIO, lines: EcsLines) -> None:
        super().__init__(stream)
        self._lines = lines

    def info_each(
        self, name: str, event: str, each: Iterable[tuple[float, Mapping[str, object]]]
    ) -> None:
        waiting = ""
        try:
            for moment, fields in each:
                words = {"logger": name, **fields}
                line = self._lines.line(_timestamp(moment), "info", event, words) + "\n"
                if len(waiting) + len(line) > _AT_ONCE:
                    self._write(waiting)
                    waiting = ""
                waiting += line
        finally:
            self._write(waiting)

    def _write(self, text: str) -> None:
        assert self.lock is not None
        with self.lock:
            self.stream.write(text)
            self.stream.flush()


def _timestamp(moment: float) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    seconds = int(moment // 1)
    microseconds = round((moment - seconds) * 1e6)
    if microseconds == 1_000_000:
        seconds, microseconds = seconds + 1, 0
    return f"{_second(seconds)}.{microseconds:06d}Z"


@lru_cache(16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(lines: EcsLines) -> list[Processor]:
    def render(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
        timestamp, level = event.pop("timestamp"), event.pop("level", "info")
        return lines.line(timestamp, level, str(event.pop("event", "")), event)

    return [_with_error, structlog.processors.format_exc_info, render]


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


def _console(process: str, *, colors: bool) -> list[Processor]:
    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    return [
        named,
        structlog.processors.format_exc_info,
        _escaped,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _escaped(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if value is None or isinstance(value, bool | int | float):
            continue
        # Only a traceback may have lines of its own.
        text = escape(str(value))
        event[key] = text if key == "exception" else text.replace("\n", "\\n")
    return event
