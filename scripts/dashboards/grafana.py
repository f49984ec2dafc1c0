"""A page as Grafana's JSON, by Grafana's own library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.page import Choice, Page, Panel, Query, View

_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Whichever data source is chosen at the top of the page; the provisioned one at first."""
_PROVISIONED = model.VariableOption(text="Prometheus of inferd", value="inferd-prometheus")
_STAT_HEIGHT, _HEIGHT = 4, 8
_TAG = "inferd"

AnyPanel = timeseries.Panel | stat.Panel | table.Panel


def as_json(page: Page) -> str:
    """The document that Grafana provisions or imports; the same page gives the same text."""
    board = (
        build.Dashboard(page.title)
        .uid(f"inferd-{page.name}")
        .description(page.description)
        .tags([_TAG])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(
            build.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(_PROVISIONED)
        )
        .link(
            build.DashboardLink("inferd")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    for choice in page.choices:
        board.with_variable(_variable(choice))
    numbers = count(1)
    for row in page.rows:
        board.with_row(build.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            board.with_panel(_panel(panel).id(next(numbers)))
    return JSONEncoder(indent=2, sort_keys=True).encode(board.build()) + "\n"


def _variable(choice: Choice) -> build.QueryVariable:
    return (
        build.QueryVariable(choice.name)
        .label(choice.name.capitalize())
        .query(f"label_values({choice.metric}, {choice.name})")
        .datasource(_SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text="All", value="$__all"))
    )


def _panel(panel: Panel) -> AnyPanel:
    made = _VIEWS[panel.view](panel)
    made.title(panel.title).description(panel.description).datasource(_SOURCE)
    made.unit(panel.unit).span(panel.width)
    made.height(_STAT_HEIGHT if panel.view == "stat" else _HEIGHT)
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(query, letter, panel))
    return made


def _target(query: Query, letter: str, panel: Panel) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(_SOURCE)
    if panel.view == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    target.legend_format(query.legend)
    return target.instant() if panel.view == "stat" else target.range()


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .draw_style(GraphDrawStyle.LINE)
        .show_points(VisibilityMode.NEVER)
        .line_width(1)
        .fill_opacity(0)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )
    return made if panel.top is None else made.max(panel.top)


def _stack(panel: Panel) -> timeseries.Panel:
    stacking = common.StackingConfig().mode(StackingMode.NORMAL)
    return _lines(panel).fill_opacity(40).stacking(stacking)


def _stat(_panel: Panel) -> stat.Panel:
    return stat.Panel().no_value("none")


def _table(panel: Panel) -> table.Panel:
    """The queries' series joined by their labels: a line per series, a column per query."""
    columns = dict(zip(ascii_uppercase, panel.queries, strict=False))
    names = {f"Value #{letter}": query.legend for letter, query in columns.items()}
    made = table.Panel()
    made.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(
        model.DataTransformerConfig(
            id_val="organize", options={"renameByName": names, "excludeByName": {"Time": True}}
        )
    )
    for query in columns.values():
        unit = [model.DynamicConfigValue(id_val="unit", value=query.unit or panel.unit)]
        made.override_by_name(query.legend, unit)
    return made


_VIEWS: Mapping[View, Callable[[Panel], AnyPanel]] = {
    "lines": _lines,
    "stack": _stack,
    "stat": _stat,
    "table": _table,
}
