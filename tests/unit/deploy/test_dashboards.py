"""Dashboards: what each panel asks for and how it is labelled."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferd.core.telemetry.metrics import METRICS
from inferd.server.deploy.files import deploy_files
from inferd.server.deploy.targets import Targets
from support.promql import Shown, dashboards, known_series, labels_of, metrics_in, rules, shown

HOUSE = Path(__file__).resolve().parents[3]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel with the name of its page; rows are only headings."""
    for path, page in dashboards().items():
        listed = page["panels"]
        assert isinstance(listed, list)
        for panel in listed:
            if panel["type"] != "row":
                yield path.stem, panel


def test_there_is_a_page_for_each_question() -> None:
    """All servers, one model, the GPUs, and the processes."""
    assert {path.stem for path in dashboards()} == {"fleet", "model", "devices", "workers"}


def test_they_are_what_the_generator_makes() -> None:
    """Nobody changed one by hand, or a page without running the script."""
    script = HOUSE / "scripts" / "generate_dashboards.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("each", list(shown()), ids=lambda each: f"{each.page}: {each.panel}")
def test_a_panel_asks_for_what_there_is(each: Shown) -> None:
    """Only declared metrics and recorded series, and only labels that they have."""
    labels_of(each.expr)


@pytest.mark.parametrize(
    ("page", "panel"),
    list(panels()),
    ids=lambda each: each if isinstance(each, str) else each["title"],
)
def test_a_panel_explains_itself(page: str, panel: dict[str, Any]) -> None:
    """A title, a unit and how to read it; legends name labels that the series have."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "5m")
        named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        assert named <= labels_of(re.sub(r"\$[a-z]+", ".*", expr)), target["legendFormat"]


@pytest.mark.parametrize("page", dashboards().values(), ids=lambda page: page["title"])
def test_variables_are_there_and_used(page: dict[str, Any]) -> None:
    """Each is offered at the top, and its values are those of a label that exists."""
    offered = {each["name"]: each for each in page["templating"]["list"]}
    asked = set(re.findall(r"\$([a-z]+)", " ".join(_expressions(page))))
    assert asked | {"datasource"} == offered.keys()
    for name in asked:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", offered[name]["query"])
        assert found is not None
        assert found[2] == name
        assert name in labels_of(re.sub(r"\$[a-z]+", ".*", found[1]))


def test_every_metric_is_shown_somewhere() -> None:
    """In a panel or in what a panel's recorded series are made of, but for Triton's names."""
    recorded = {rule.name: rule.expr for rule in rules() if not rule.alert}
    seen: set[str] = set()
    waiting = {name for each in shown() for name in metrics_in(each.expr)}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting |= metrics_in(recorded[name]) if name in recorded else set()
    shown_metrics = {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen} | seen
    ours = {each.name for each in METRICS if not each.name.startswith("nv_")}
    assert ours - shown_metrics == set()


def test_pages_and_provisioning_name_one_data_source() -> None:
    """A page's first choice is the source that is provisioned, by what identifies it in Grafana."""
    files = deploy_files("grafana", Targets(prometheus="https://prometheus.example.com:9090/p"))
    documents = {
        path.as_posix(): yaml.safe_load(files[path]) for path in files if path.suffix == ".yaml"
    }
    (source,) = documents["grafana/provisioning/datasources/inferd.yaml"]["datasources"]
    assert source["url"] == "https://prometheus.example.com:9090/p"
    for page in dashboards().values():
        templating: Any = page["templating"]
        (chosen,) = [each for each in templating["list"] if each["name"] == "datasource"]
        assert chosen["current"]["value"] == source["uid"]
    (provider,) = documents["grafana/provisioning/dashboards/inferd.yaml"]["providers"]
    assert provider["options"]["path"] == "/etc/grafana/inferd"


def test_recorded_series_are_known_by_their_level() -> None:
    """What tests of labels stand on."""
    known = known_series()
    assert known["server_gpu:inferd_gpu_memory:ratio"] == {"server", "gpu"}
    assert "le" in known["inferd_batch_rows_bucket"]


def _expressions(page: dict[str, Any]) -> Iterator[str]:
    for panel in page["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m")
    for variable in page["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]
