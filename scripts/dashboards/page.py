"""What a dashboard consists of, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

View = Literal["lines", "stack", "stat", "table"]
"""Lines over time, areas on top of each other, the latest number, or the latest numbers by series."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of PromQL; `legend` names its series, in a table its column.

    A column has a unit of its own.
    """

    expr: str
    legend: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel says in its title what is shown and in its description how to read it.

    `unit` is one of Grafana's; `width` counts twenty-fourths of the page.
    """

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    view: View = "lines"
    width: int = 8
    top: float | None = None
    """Where the axis ends, for what cannot be more."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable of the page: its values are those of the label of its name on `metric`."""

    name: str
    metric: str


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard; `name` is that of its file and, after `inferd-`, its identity in Grafana."""

    name: str
    title: str
    description: str
    choices: tuple[Choice, ...]
    rows: tuple[Row, ...]


SERVER = Choice("server", 'up{job="inferd"}')
MODEL = Choice("model", "inferd_model_state")
VERSION = Choice("version", 'inferd_model_state{model=~"$model"}')
GPU = Choice("gpu", "inferd_gpu_memory_total_bytes")
