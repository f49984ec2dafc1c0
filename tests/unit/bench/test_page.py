"""The HTML page of a result."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from inferd.bench.output.page import to_html
from inferd.bench.result import ErrorCount, Result, StepResult

HOSTILE = "<script>alert('x')</script>\"&"


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note it."""
        self.seen.append(tag)


def test_nothing_from_outside_becomes_markup(result: Result, step: StepResult) -> None:
    """Names and messages that look like HTML are shown, not obeyed."""
    target = replace(
        result.target,
        model=HOSTILE,
        version=HOSTILE,
        address=HOSTILE,
        server=HOSTILE,
        inputs=(HOSTILE,),
        process=HOSTILE,
    )
    steps = (replace(step, errors=(ErrorCount("UNKNOWN", 1, HOSTILE),)),)
    page = to_html(replace(result, target=target, steps=steps, notes=(HOSTILE,)))
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert page.count("&lt;script&gt;") >= 8


def test_the_page_needs_nothing_else(result: Result) -> None:
    """No script, style, picture or font is fetched from anywhere: links are names of formats only."""
    page = to_html(result)
    assert not re.search(r"\b(src|href)=\"?https?:", page)
    assert "@import" not in page
    assert "url(http" not in page
    tags = Tags()
    tags.feed(page)
    assert {"script", "link", "img", "iframe"}.isdisjoint(tags.seen)


def test_it_has_the_curve_and_the_figures(result: Result, step: StepResult) -> None:
    """An inline drawing, the tables, and what the client says of itself."""
    page = to_html(replace(result, steps=(step, replace(step, concurrency=256))))
    assert page.count("<svg") == 1
    for word in ("p50", "p90", "p99", "answers per second", "123456.7", "THE CLIENT WAS THE LIMIT"):
        assert word in page


def test_a_step_that_the_machine_limited_is_marked(result: Result, step: StepResult) -> None:
    """Its row stands out, and the remarks say why."""
    fine = replace(step, client=replace(step.client, limit=None))
    full = replace(fine, machine_limit="client and server share it")
    page = to_html(replace(result, steps=(fine, full)))
    assert page.count('<tr class="limit">') == 1
    assert "THE MACHINE WAS THE LIMIT: client and server share it" in page


def test_a_run_without_answers_has_a_page(result: Result, step: StepResult) -> None:
    """An empty curve is no reason to fail."""
    bare = replace(step, latency_ms=None, server=None, resources=None)
    assert "<svg" in to_html(replace(result, steps=(bare,)))
    assert "<svg" in to_html(replace(result, steps=()))
