"""Logs: JSON in ECS names off a terminal, lines for people on one, nothing forged in either."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from inferd.core.telemetry import logs


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Put back what pytest and other tests log with."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _documents(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_ecs_names() -> None:
    """Time, level, message, logger, process and service under the names of ECS; ours apart."""
    stream = io.StringIO()
    logs.configure("info", "json", "gateway", stream)
    logs.get_logger("inferd.x").info("model loaded", model="digits", seconds=1.5)
    (document,) = _documents(stream)
    assert document["message"] == "model loaded"
    assert document["log.level"] == "info"
    assert document["log"] == {"logger": "inferd.x"}
    assert document["inferd"] == {"model": "digits", "seconds": 1.5}
    assert document["service"] == {"name": "inferd"}
    assert document["process"]["title"] == "gateway"
    assert document["@timestamp"].endswith("Z")
    assert "ecs.version" in document


def test_auto_is_json_off_a_terminal_and_readable_on_one() -> None:
    """The format is chosen by where the logs go, and the choice is told."""
    assert logs.configure("info", "auto", "x", io.StringIO()) == "json"
    assert logs.configure("info", "auto", "x", _Terminal()) == "console"


def test_level_silences_what_is_below() -> None:
    """At `warning`, information is not written, from us or from libraries."""
    stream = io.StringIO()
    logs.configure("warning", "json", "x", stream)
    logs.get_logger("a").info("no")
    logging.getLogger("b").info("no")
    logs.get_logger("a").warning("yes")
    assert [document["message"] for document in _documents(stream)] == ["yes"]


def test_logs_of_libraries_look_the_same() -> None:
    """What comes through the standard library has the same form."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    logging.getLogger("library").warning("careful with %s", "that")
    (document,) = _documents(stream)
    assert (document["message"], document["log.level"]) == ("careful with that", "warning")
    assert document["log"] == {"logger": "library"}


@pytest.mark.parametrize("format_", ["json", "console"])
def test_tracebacks_are_written(format_: str) -> None:
    """An exception comes with its traceback."""
    stream = io.StringIO()
    logs.configure("info", format_, "x", stream)
    try:
        int("boom\x1b[2J")
    except ValueError:
        logs.get_logger("a").exception("failed")
    assert "ValueError: invalid literal" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("text", ["\x1b[2J", "a\nforged line", "\r", "\x9b", "\u202e", "\x00"])
def test_nothing_that_is_logged_drives_a_terminal_or_forges_a_line(format_: str, text: str) -> None:
    """Control characters in messages, fields and library logs are escaped."""
    stream = io.StringIO()
    logs.configure("info", format_, "x", stream)
    logs.get_logger("a").info(text, model=text)
    logging.getLogger("b").info(text)
    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert text not in written.replace("\n", "", 1).replace("\n", "", 1) or text == "\n"


@pytest.mark.parametrize(("level", "format_"), [("loud", "json"), ("info", "xml")])
def test_unknown_settings_are_refused(level: str, format_: str) -> None:
    """A typo is told, not guessed."""
    with pytest.raises(ValueError, match="expected one of"):
        logs.configure(level, format_, "x", io.StringIO())


def test_escape_leaves_plain_text_alone() -> None:
    """Only control characters change; letters of any script stay."""
    assert logs.escape("naïve 模型\n") == "naïve 模型\n"
    assert logs.escape("a\x1bb\u202ec") == "a\\x1bb\\u202ec"
