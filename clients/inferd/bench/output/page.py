"""A result as one HTML page that needs nothing else; needs jinja2 and matplotlib."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inferd.bench.output.chart import latency_curve
from inferd.bench.output.table import remarks
from inferd.bench.result import Result


def to_html(result: Result) -> str:
    """The page; everything that came from the server or the command line is escaped."""
    environment = Environment(
        loader=PackageLoader("inferd.bench.output", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html").render(
        result=result,
        curve=Markup(latency_curve(result.steps)),  # noqa: S704 - drawn from numbers alone
        open=any(step.rate is not None for step in result.steps),
        seen=any(step.server or step.resources for step in result.steps),
        remarks=remarks(result),
    )
