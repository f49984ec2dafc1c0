"""Recording rules and alerts, judged by Prometheus' own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferd.core.address import Address
from inferd.server.deploy.files import deploy_files
from inferd.server.deploy.targets import THROTTLES, Targets
from inferd.server.supervisor.resources.gpus import THROTTLE_REASONS
from support.promql import labels_of, metrics_in, rules

CASES = Path(__file__).with_name("cases")
HOUSE = Path(__file__).resolve().parents[3]
ALERTS = [rule for rule in rules() if rule.alert]
RECORDED = [rule for rule in rules() if not rule.alert]

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)


def write(folder: Path, targets: Targets | None = None) -> Path:
    """The files for Prometheus, as the command writes them; returns their folder."""
    for path, text in deploy_files("prometheus", targets or Targets()).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / "prometheus"


def check(*arguments: str | Path) -> None:
    """Run promtool; it must be content, warnings included."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
@pytest.mark.parametrize(
    "targets",
    [
        Targets(),
        Targets(
            ops=(Address("gpu-1", 8002), Address("::1", 8002)),
            alertmanager=(Address("alerts", 9093),),
            interval="200ms",
            availability=0.95,
            latency=0.02,
            runbooks="https://wiki.example.com/inferd?page=alerts",
        ),
    ],
)
def test_prometheus_takes_the_files(tmp_path: Path, targets: Targets) -> None:
    """With the defaults, and with everything set."""
    folder = write(tmp_path, targets)
    check("check", "config", folder / "prometheus.yml")
    check("check", "rules", "--lint=all", "--lint-fatal", *sorted((folder / "rules").iterdir()))


@promtool
@pytest.mark.parametrize("case", sorted(each.name for each in CASES.iterdir()))
def test_rules_do_what_they_say(tmp_path: Path, case: str) -> None:
    """Series of numbers go in; what is recorded and which alerts fire is written in the cases."""
    folder = write(tmp_path)
    shutil.copy(CASES / case, folder)
    check("test", "rules", folder / case)


@pytest.mark.parametrize("alert", [each.name for each in ALERTS])
def test_every_alert_has_a_case_for_and_one_against(alert: str) -> None:
    """One in which it fires, and one in which something like it does not make it fire."""
    expected = [
        (question["expr"], question["exp_samples"])
        for document in map(_case, CASES.iterdir())
        for test in document["tests"]
        if test["name"].startswith(f"{alert}:")
        for question in test["promql_expr_test"]
    ]
    fired = [
        samples for _, samples in expected if any(f'"{alert}"' in s["labels"] for s in samples)
    ]
    quiet = [expr for expr, samples in expected if not samples and f'"{alert}"' in expr]
    assert fired
    assert quiet


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_a_rule_asks_for_what_there_is(rule: Any) -> None:
    """Only declared metrics and recorded series, and only labels that they have."""
    labels = labels_of(rule.expr)
    if not rule.alert:
        assert labels == set(rule.name.split(":")[0].split("_")), "the level is what is left"


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("inferd_no_such_metric", "nothing declares or records it"),
        ('inferd_worker_up{gpu="0"}', "no label ['gpu']"),
        ("sum by (gpu) (inferd_worker_up)", "no label ['gpu']"),
        ("sum by (server) (inferd_worker_up) > on (model) inferd_queue_requests", "['model']"),
        ("histogram_quantile(0.5, sum by (model) (inferd_batch_rows_bucket))", "['le']"),
        ("sum by (model) (inferd_worker_up) / inferd_queue_requests", "other labels"),
        ("sum by model", "invalid promql query"),
    ],
)
def test_the_check_of_expressions_sees_mistakes(expr: str, message: str) -> None:
    """Or the tests above would be content with anything."""
    with pytest.raises(ValueError, match=re.escape(message)):
        labels_of(expr)


def test_what_is_recorded_is_recorded_once() -> None:
    """Two rules of one name would write into each other's series."""
    names = [rule.name for rule in rules()]
    assert len(names) == len(set(names))


def test_every_alert_tells_what_to_do() -> None:
    """How bad it is, what it is about, and an anchor of the page, where it has a section."""
    page = (HOUSE / "docs" / "alerts.md").read_text()
    sections = {heading.lower() for heading in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    files = deploy_files("prometheus", Targets())
    (text,) = [text for path, text in files.items() if path.name == "alerts.yml"]
    anchors = set()
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
            file, anchor = rule["annotations"]["runbook_url"].split("#")
            assert (file, anchor) == ("docs/alerts.md", rule["alert"].lower())
            anchors.add(anchor)
    assert anchors == sections


def test_throttling_is_looked_for_by_the_names_it_has() -> None:
    """The alert's reasons are some of those that the metric may show."""
    (alert,) = [each for each in ALERTS if each.name == "InferdGpuThrottled"]
    assert metrics_in(alert.expr) == {"inferd_gpu_throttled"}
    assert f'reason=~"{"|".join(THROTTLES)}"' in alert.expr
    assert set(THROTTLES) <= THROTTLE_REASONS.keys()


def _case(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document
