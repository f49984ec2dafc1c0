"""A real Prometheus with inferd's rules, beside a server under load."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from inferd.client import InferenceError, connect
from inferd.core.address import Address
from inferd.core.telemetry.metrics import METRICS
from inferd.server.deploy.targets import Targets
from support.http import ask
from support.prometheus import Prometheus, Sample
from support.promql import Rule, known_series, metrics_in, operands, rules, shown
from support.repository import write_code
from support.server import PATIENCE, Server

pytestmark = [
    pytest.mark.timeout(400),  # a worker is started four times
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="prometheus and promtool are missing: apt-get install prometheus",
    ),
]

RECORDED = {rule.name: rule for rule in rules() if not rule.alert}
GPU = ("inferd_gpu_", "inferd_worker_gpu_", "inferd_torch_")
"""Metrics that a server without a GPU does not have."""


@dataclass(frozen=True)
class Scene:
    """A server under load, and who watches it."""

    server: Server
    prometheus: Prometheus


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One server and one Prometheus for all tests, scraped and evaluated five times a second."""
    folder = tmp_path_factory.mktemp("prometheus")
    write_code(folder / "models" / "same", "class Same(Model):\n    def predict(self, x): return x")
    with Server(folder, [folder / "models"], "--trust", "same", "--device", "cpu") as server:
        targets = Targets(ops=(Address.parse(server.ops),), interval="200ms")
        over = threading.Event()
        callers = [threading.Thread(target=call, args=(server, over)) for call in (_call, _err)]
        for each in callers:
            each.start()
        try:
            with Prometheus(folder, targets) as prometheus:
                yield Scene(server, prometheus)
        finally:
            over.set()
            for each in callers:
                each.join()


def _call(server: Server, over: threading.Event) -> None:
    """Ask one request after the other, whatever befalls them."""
    with connect(server.address) as client:
        model = client.model("same")
        while not over.wait(0.01):
            with suppress(InferenceError):
                model(np.ones((3, 4), np.float32))


def _err(server: Server, over: threading.Event) -> None:
    """Ask what cannot be answered, now and then."""
    wrong = {"inputs": [{"name": "z", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
    while not over.wait(0.1):
        ask(server.http, "/v2/models/same/infer", wrong)


def test_prometheus_own_tool_likes_the_metrics(scene: Scene) -> None:
    """Promtool has nothing to say against names, types and help, in either name scheme."""
    text = ask(scene.server.ops, "/metrics").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_prometheus_takes_all_that_it_scrapes(scene: Scene) -> None:
    """The target is up under its own name, no series is refused, and rules have no errors."""

    def told() -> list[str]:
        names: list[str] = scene.prometheus.ask("label/__name__/values")
        return names if _wanted() <= set(names) else []

    scene.prometheus.wait(lambda: scene.prometheus.query("up == 1"), "a first scrape")
    (up,) = scene.prometheus.query("up")
    assert (up.labels["job"], up.labels["server"]) == ("inferd", scene.server.ops)
    names = set(scene.prometheus.wait(told, f"series of {sorted(_wanted())}"))
    # Before Prometheus had its targets, InferdAbsent began to wait; else nothing is wrong here.
    scene.prometheus.wait(lambda: not scene.prometheus.query("ALERTS"), "no alert")
    for name in names - _wanted():
        assert name.startswith(("scrape_", "ALERTS", "nv_", *GPU)) or name in known_series(), name
    assert (
        scene.prometheus.query("scrape_samples_scraped != scrape_samples_post_metric_relabeling")
        == []
    )
    groups = scene.prometheus.ask("rules")["groups"]
    assert [
        rule["lastError"] for group in groups for rule in group["rules"] if "lastError" in rule
    ] == []


def test_a_worker_s_series_have_its_own_instance(scene: Scene) -> None:
    """Prometheus' own label of that name does not hide the worker's, and `server` tells where."""
    (worker,) = scene.prometheus.wait(
        lambda: scene.prometheus.query("inferd_worker_up"), "the worker"
    )
    labels = {name: worker.labels[name] for name in ("instance", "model", "version", "server")}
    wanted = {"instance": "0", "model": "same", "version": "1", "server": scene.server.ops}
    assert labels == wanted


def test_everything_that_is_asked_has_an_answer(scene: Scene) -> None:
    """Every rule and every panel, but for GPUs', gives numbers while a model is called."""
    expressions = {f"{each.page}: {each.panel}: {each.expr}": each.expr for each in shown()}
    for rule in rules():
        for number, expr in enumerate(operands(rule.expr)):
            # Nothing was there a quarter of an hour ago, and nothing loads any more.
            now = expr.replace(" offset 15m", "").replace('"LOADING"', '"READY"')
            expressions[f"{rule.name}: {number}"] = now
    waiting = {name: expr for name, expr in expressions.items() if not _lacks(expr)}
    assert len(waiting) > 80

    def none_waits() -> bool:
        for name, expr in list(waiting.items()):
            if scene.prometheus.query(expr):
                del waiting[name]
        return not waiting

    try:
        scene.prometheus.wait(none_waits, "numbers", 60)
    except AssertionError:
        assert waiting == {}


@pytest.mark.parametrize("rule", RECORDED.values(), ids=lambda rule: rule.name)
def test_what_is_recorded_has_the_labels_of_its_name(scene: Scene, rule: Rule) -> None:
    """The tests of expressions take the labels of recorded series from there."""
    if _lacks(rule.name):
        return
    levels = rule.name.split(":")[0].split("_")
    found: list[Sample] = scene.prometheus.wait(
        lambda: scene.prometheus.query(rule.name), rule.name
    )
    # An empty label is none: requests that reached no model have no model.
    assert {*levels, "__name__"} in [set(each.labels) for each in found]
    assert all(set(each.labels) <= {*levels, "__name__"} for each in found)


def test_an_alert_fires_when_a_worker_is_killed_again_and_again(scene: Scene) -> None:
    """Not after the second time, but after the third, with the model's name in its summary."""
    firing = 'ALERTS{alertname="InferdWorkerFlapping", alertstate="firing"}'
    lost = "sum(inferd_worker_restarts_total)"
    for times in (1, 2, 3):
        assert scene.prometheus.query(firing) == []
        up = partial(scene.prometheus.query, "inferd_worker_up == 1")
        scene.prometheus.wait(up, "the worker to be up", PATIENCE)
        (worker,) = scene.server.workers()
        worker.kill()
        seen = partial(scene.prometheus.query, f"{lost} == {times}")
        scene.prometheus.wait(seen, "the loss to be seen")
    scene.prometheus.wait(lambda: scene.prometheus.query(firing), firing)
    (alert,) = [
        each
        for each in scene.prometheus.ask("alerts")["alerts"]
        if each["labels"]["alertname"] == "InferdWorkerFlapping"
    ]
    assert alert["annotations"]["summary"] == "same 1: workers die again and again"
    assert alert["labels"]["server"] == scene.server.ops


def _wanted() -> set[str]:
    """Names that every server shows."""
    ours = {each.name for each in METRICS if not each.name.startswith(("nv_", *GPU))}
    return {
        f"{each.name}_count" if each.kind == "histogram" else each.name
        for each in METRICS
        if each.name in ours
    }


def _lacks(expr: str) -> bool:
    """Whether it needs a metric that this server does not have, itself or by what is recorded."""
    for name in metrics_in(expr):
        if name in RECORDED:
            if _lacks(RECORDED[name].expr):
                return True
        elif name.startswith(GPU):
            return True
    return False
