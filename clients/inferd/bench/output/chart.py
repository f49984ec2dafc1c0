"""The latency-throughput curve as an SVG drawing; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from inferd.bench.result import LatencyMs, StepResult

_LINES = (("p50", "#1b7f5c"), ("p90", "#c77d0a"), ("p99", "#b3261e"))


def latency_curve(steps: Sequence[StepResult]) -> str:
    """p50, p90 and p99 over the throughput of each step, as an `<svg>` element."""
    measured = [(step, step.latency_ms) for step in steps if step.latency_ms is not None]
    # Text stays text, and the same result gives the same drawing.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "inferd", "font.family": "sans-serif"}
    ):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for name, colour in _LINES:
            axes.plot(
                [step.throughput for step, _ in measured],
                [_value(latency, name) for _, latency in measured],
                marker="o",
                markersize=4,
                color=colour,
                label=name,
            )
        for step, latency in measured:
            axes.annotate(
                step.label,
                (step.throughput, latency.p99),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_xlabel("answers per second")
        axes.set_ylabel("latency, ms")
        if measured:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.margins(y=0.12)
        axes.set_xlim(left=0)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend()
        drawing = StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    text = drawing.getvalue()
    return text[text.index("<svg") :]  # without the prologue, which HTML has no place for


def _value(latency: LatencyMs, name: str) -> float:
    value: float = getattr(latency, name)
    return value
