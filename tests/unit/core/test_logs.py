"""Logs: JSON in ECS names off a terminal, lines for people on one, nothing forged in either."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version as package_version
from typing import Any

import pytest
import structlog

from inferd.core.telemetry import logs
from inferd.core.telemetry.ecs import ECS_NAMES


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
    assert document["service"] == {"name": "inferd", "version": package_version("inferd")}
    assert document["process"]["pid"] == os.getpid()
    assert document["process"]["title"] == "gateway"
    assert document["@timestamp"].endswith("Z")
    assert "ecs.version" in document


def test_known_key_words_have_the_names_of_ecs() -> None:
    """Trace, span and request, sizes and duration are found where ECS has them."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    words = {word: f"<{word}>" for word in ECS_NAMES}
    logs.get_logger("a").info("done", duration_ms=1.5, **words)
    (document,) = _documents(stream)
    assert document["trace"] == {"id": "<trace_id>"}
    assert document["span"] == {"id": "<span_id>"}
    assert document["http"]["request"]["id"] == "<request_id>"
    assert document["event"]["duration"] == 1_500_000
    for word, name in ECS_NAMES.items():
        found: Any = document
        for part in name.split("."):
            found = found[part]
        assert found == f"<{word}>"
    assert "inferd" not in document


def test_ids_that_are_bound_are_in_every_line() -> None:
    """Whoever binds a span once has it in what libraries log below, too."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    with structlog.contextvars.bound_contextvars(trace_id="t", span_id="s"):
        logs.get_logger("a").info("one")
        logging.getLogger("library").warning("two")
    logs.get_logger("a").info("three")
    found = [(each.get("trace"), each.get("span")) for each in _documents(stream)]
    assert found == [({"id": "t"}, {"id": "s"})] * 2 + [(None, None)]


def test_an_exception_has_its_kind_and_text_apart() -> None:
    """Of ours and of libraries; the text given with the line wins."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    try:
        dict[str, int]()["gone"]
    except KeyError as error:
        logs.get_logger("a").exception("one")
        logging.getLogger("library").exception("two")
        logs.get_logger("a").error("three", exc_info=error, error="in our words")
    errors = [document["error"] for document in _documents(stream)]
    assert [each["type"] for each in errors] == ["KeyError"] * 3
    assert [each["message"] for each in errors] == ["'gone'", "'gone'", "in our words"]
    assert all("Traceback" in each["stack_trace"] for each in errors)


def test_numbers_that_json_does_not_have_are_text() -> None:
    """A parser that keeps to the standard reads every line."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    logs.get_logger("a").info("odd", one=float("nan"), two=float("inf"), three=0.5)
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert document["inferd"] == {"one": "nan", "two": "inf", "three": 0.5}


def test_what_nobody_catches_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the main thread and on others, in one line each; a thread that exits is no error."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    logs.log_uncaught()
    error = ValueError("boom")
    sys.excepthook(ValueError, error, None)
    for target in (lambda: int("no number"), sys.exit):
        thread = threading.Thread(target=target, name="side")
        thread.start()
        thread.join()
    main, side = _documents(stream)
    assert (main["error"]["type"], main["error"]["message"]) == ("ValueError", "boom")
    assert "no number" in side["error"]["stack_trace"]
    assert side["inferd"] == {"thread": "side"}


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
@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\nforged line", "\r", "\x7f", "\x9b", "\u202e", "\x00"]
)
def test_nothing_that_is_logged_drives_a_terminal_or_forges_a_line(format_: str, text: str) -> None:
    """Control characters in messages, fields and library logs are escaped."""
    stream = io.StringIO()
    logs.configure("info", format_, "x", stream)
    logs.get_logger("a").info(text, model=text, request_id=text, others=[text], error=text)
    logging.getLogger("b").info(text)
    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert text not in written.replace("\n", "")


@pytest.mark.parametrize(("level", "format_"), [("loud", "json"), ("info", "xml")])
def test_unknown_settings_are_refused(level: str, format_: str) -> None:
    """A typo is told, not guessed."""
    with pytest.raises(ValueError, match="expected one of"):
        logs.configure(level, format_, "x", io.StringIO())


def test_escape_leaves_plain_text_alone() -> None:
    """Only control characters change; letters of any script stay."""
    assert logs.escape("naïve 模型\n") == "naïve 模型\n"
    assert logs.escape("a\x1bb\u202ec") == "a\\x1bb\\u202ec"


def test_many_lines_are_like_single_ones() -> None:
    """With their own moments, whatever the level; only cheaper."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    fields = {"model": "m", "request_id": "\x1b\u202e", "duration_ms": 1.5, "bytes_in": 3}
    logs.get_logger("a").info("request", **fields)
    logging.getLogger().setLevel(logging.ERROR)
    logs.info_each("a", "request", [(1.5, fields), (1e9, fields)])
    single, *many = _documents(stream)
    assert [each.pop("@timestamp") for each in many] == [
        "1970-01-01T00:00:01.500000Z",
        "2001-09-09T01:46:40.000000Z",
    ]
    del single["@timestamp"]
    assert many == [single, single]
    assert stream.getvalue().isascii()


class _Pieces(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_many_lines_leave_room_for_those_of_other_processes() -> None:
    """A pipe takes 4,096 bytes at once: whole lines in each piece, and no longer one than that."""
    stream = _Pieces()
    logs.configure("info", "json", "x", stream)
    logs.info_each("a", "request", [(0.0, {"model": f"m{number}"}) for number in range(100)])
    assert [each["inferd"]["model"] for each in _documents(stream)] == [f"m{n}" for n in range(100)]
    assert 4 < len(stream.pieces) < 20
    assert max(map(len, stream.pieces)) <= 4096
    assert all(each.endswith("}\n") for each in stream.pieces)


def test_many_lines_on_a_terminal_are_for_people_too() -> None:
    """One each, with its fields."""
    stream = io.StringIO()
    logs.configure("info", "console", "x", stream)
    logs.info_each("a", "request", [(0.0, {"model": "one"}), (0.0, {"model": "two"})])
    one, two = stream.getvalue().splitlines()
    assert "model=one" in one
    assert "model=two" in two


def test_fields_that_cannot_be_nested_are_there_all_the_same() -> None:
    """A library may have a field inside another that is none."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    logging.getLogger("library").warning("odd", extra={"a.b": 1, "a.b.c": 2})
    logging.getLogger("library").warning("odd", extra={"a.b.c": 2, "a.b": 1})
    one, other = _documents(stream)
    assert (one["a"], one["a.b.c"]) == ({"b": 1}, 2)
    assert (other["a"], other["a.b"]) == ({"b": {"c": 2}}, 1)


def test_lines_with_the_same_fields_have_values_of_their_own() -> None:
    """Whatever kinds these are of, and in whichever order; what looks like a template is text."""
    stream = io.StringIO()
    logs.configure("info", "json", "%s", stream)
    log = logs.get_logger("a")
    log.info("%s", model="%s{}", rows=1)
    log.info("%d", rows=None, model=2.5)
    log.info("{}", model=True, rows=[3])
    assert [each["message"] for each in _documents(stream)] == ["%s", "%d", "{}"]
    assert [each["inferd"] for each in _documents(stream)] == [
        {"model": "%s{}", "rows": 1},
        {"model": 2.5, "rows": None},
        {"model": True, "rows": "[3]"},
    ]


def test_the_moment_of_a_line_is_rounded_to_a_microsecond() -> None:
    """Up into the next second, and down."""
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    moments = (59.9999999, 60.0000004, -0.5)
    logs.info_each("a", "request", [(moment, {}) for moment in moments])
    assert [each["@timestamp"] for each in _documents(stream)] == [
        "1970-01-01T00:01:00.000000Z",
        "1970-01-01T00:01:00.000000Z",
        "1969-12-31T23:59:59.500000Z",
    ]
