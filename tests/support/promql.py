"""What an expression of PromQL asks for, checked against what is declared and recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath

import promql_parser
import yaml
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
)

from inferd.core.telemetry.metrics import METRICS
from inferd.server.deploy.files import deploy_files
from inferd.server.deploy.targets import Targets

TARGET = frozenset({"job", "instance", "server"})
"""Labels that Prometheus adds to what it scrapes, as prometheus.yml has it."""

Labels = frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule or an alert."""

    name: str
    expr: str
    alert: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """An expression of a panel, with values for the page's variables."""

    page: str
    panel: str
    expr: str


@cache
def rules() -> tuple[Rule, ...]:
    """All rules that `inferd deploy prometheus` writes."""
    files = deploy_files("prometheus", Targets())
    documents = [yaml.safe_load(files[path]) for path in files if path.parent.name == "rules"]
    return tuple(
        Rule(rule.get("alert") or rule["record"], rule["expr"], "alert" in rule)
        for document in documents
        for group in document["groups"]
        for rule in group["rules"]
    )


@cache
def dashboards() -> Mapping[PurePath, dict[str, object]]:
    """All dashboards that `inferd deploy grafana` writes."""
    files = deploy_files("grafana", Targets())
    return {path: json.loads(text) for path, text in files.items() if path.suffix == ".json"}


def shown() -> Iterator[Shown]:
    """Every expression of every panel, as Grafana asks it where all is chosen."""
    for path, page in dashboards().items():
        panels = page["panels"]
        assert isinstance(panels, list)
        for panel in panels:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "5m")
                yield Shown(path.stem, panel["title"], re.sub(r"\$[a-z]+", ".*", expr))


@cache
def known_series() -> Mapping[str, Labels]:
    """The labels of all that can be asked for, by name."""
    known = {
        "up": TARGET,
        "ALERTS": frozenset({"alertname", "alertstate", "severity", "model", "version"}) | TARGET,
    }
    for metric in METRICS:
        labels = frozenset(metric.labels) | TARGET
        if metric.kind == "histogram":
            known[f"{metric.name}_bucket"] = labels | {"le"}
            known[f"{metric.name}_sum"] = known[f"{metric.name}_count"] = labels
        else:
            known[metric.name] = labels
    # By Prometheus' convention the first part of a recorded name is the labels that are left.
    recorded = {rule.name for rule in rules() if not rule.alert}
    return known | {name: frozenset(name.split(":")[0].split("_")) for name in recorded}


def metrics_in(expr: str) -> frozenset[str]:
    """The names that an expression asks for."""
    return frozenset(each.name or "" for each in _selectors(promql_parser.parse(expr)))


def labels_of(expr: str) -> Labels:
    """The labels that the series of an expression may have.

    Raises `ValueError` where it does not parse, or asks for a name or label that there is not.
    """
    return _labels(promql_parser.parse(expr), known_series())


def operands(expr: str) -> Iterator[str]:
    """What an alert compares and joins: each has series whether the alert fires or not."""
    yield from (each.prettify() for each in _operands(promql_parser.parse(expr)))


def _operands(expr: promql_parser.Expr) -> Iterator[promql_parser.Expr]:
    match expr:
        case ParenExpr():
            yield from _operands(expr.expr)
        case BinaryExpr() if str(expr.op) in {"and", "or", "unless", *_COMPARISONS}:
            yield from _operands(expr.lhs)
            yield from _operands(expr.rhs)
        case Call() if expr.func.name == "absent":
            yield from _operands(expr.args[0])
        case NumberLiteral():
            return
        case BinaryExpr() if not _selectors(expr):
            return
        case _:
            yield expr


_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})


def _selectors(expr: promql_parser.Expr) -> list[VectorSelector]:
    found: list[VectorSelector] = []

    def look(each: promql_parser.Expr) -> bool:
        if isinstance(each, MatrixSelector):
            found.append(each.vector_selector)
            return False
        if isinstance(each, VectorSelector):
            found.append(each)
        return True

    promql_parser.walk(expr, look)
    return found


def _labels(expr: promql_parser.Expr, known: Mapping[str, Labels]) -> Labels:
    match expr:
        case VectorSelector():
            labels = known.get(expr.name or "")
            if labels is None:
                raise ValueError(f"{expr}: nothing declares or records it")
            _must_have(expr, labels, [each.name for each in expr.matchers.matchers])
            return labels
        case MatrixSelector():
            return _labels(expr.vector_selector, known)
        case ParenExpr() | UnaryExpr():
            return _labels(expr.expr, known)
        case Call():
            found: Labels = frozenset().union(*(_labels(each, known) for each in expr.args))
            if expr.func.name == "histogram_quantile":
                _must_have(expr, found, ["le"])
                return found - {"le"}
            return frozenset() if expr.func.name == "absent" else found
        case AggregateExpr():
            return _aggregated(expr, _labels(expr.expr, known))
        case BinaryExpr():
            return _joined(expr, _labels(expr.lhs, known), _labels(expr.rhs, known))
        case NumberLiteral() | StringLiteral():
            return frozenset()
    raise ValueError(f"{expr}: the test does not know what {type(expr).__name__} does to labels")


def _aggregated(expr: AggregateExpr, labels: Labels) -> Labels:
    if expr.modifier is None:
        return frozenset()
    named = expr.modifier.labels
    _must_have(expr, labels, named)
    return frozenset(named) if expr.modifier.type == AggModifierType.By else labels - set(named)


def _joined(expr: BinaryExpr, left: Labels, right: Labels) -> Labels:
    modifier = expr.modifier
    if modifier is not None and modifier.matching is not None:
        for side in (left, right):
            _must_have(expr, side, modifier.matching.labels)
        if str(expr.op) in {"and", "unless"} or modifier.card == VectorMatchCardinality.ManyToOne:
            return left
        return frozenset(modifier.matching.labels)
    if left and right and left - TARGET != right - TARGET and str(expr.op) != "or":
        raise ValueError(f"{expr}: its sides have other labels, {sorted(left)} and {sorted(right)}")
    return left | right


def _must_have(expr: promql_parser.Expr, labels: Labels, named: list[str]) -> None:
    if missing := set(named) - labels:
        raise ValueError(f"{expr}: no label {sorted(missing)}; there are {sorted(labels)}")
