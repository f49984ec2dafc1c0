"""`inferd deploy`: write the files with which Prometheus, Grafana and others watch inferd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from inferd.core.address import Address
from inferd.server.cli.output import FAILED, MISUSED, complain, show, write_files
from inferd.server.deploy.files import Kind, deploy_files
from inferd.server.deploy.targets import Targets

_Several = Parameter(metavar="HOST:PORT", negative=(), consume_multiple=True, show_default=False)


def deploy(
    kind: Kind,
    /,
    *,
    output: Path = Path("deploy"),
    ops: Annotated[tuple[str, ...], _Several] = ("127.0.0.1:8002",),
    prometheus: str = "http://127.0.0.1:9090",
    alertmanager: Annotated[tuple[str, ...], _Several] = (),
    interval: str = "15s",
    availability: float = 0.999,
    latency: float = 0.5,
    runbooks: str = "docs/alerts.md",
    image: str = "inferd:gpu",
    force: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> int:
    """Write files with which Prometheus, Grafana and others watch inferd.

    For example

    - inferd deploy prometheus --ops gpu-1:8002 gpu-2:8002 --alertmanager alerts:9093
    - inferd deploy grafana --prometheus http://prometheus:9090
    - inferd deploy compose --output deploy
    - inferd deploy logging

    prometheus: what to scrape, recording rules and alerts. grafana: dashboards and their data source.
    compose: both, and a file that starts inferd, Prometheus and Grafana. logging: configuration of
    programs that ship logs. Each in a folder of its name.

    Args:
        kind: What to write.
        output: Folder to write to.
        ops: Operations ports of inferd that Prometheus scrapes (default: 127.0.0.1:8002).
        prometheus: Where Grafana finds Prometheus.
        alertmanager: Where Prometheus sends alerts (default: nowhere).
        interval: How often Prometheus scrapes and evaluates, such as 15s.
        availability: Share of requests that are to be answered, for the alerts on the error budget.
        latency: Seconds within which 99 of 100 requests are to be answered, for an alert.
        runbooks: Page that alerts link to, each at an anchor of its name.
        image: Image of inferd for compose.
        force: Replace files that are there and differ.
    """
    try:
        targets = Targets(
            ops=_addresses("--ops", ops),
            prometheus=prometheus,
            alertmanager=_addresses("--alertmanager", alertmanager),
            interval=interval,
            availability=availability,
            latency=latency,
            runbooks=runbooks,
            image=image,
        )
        written = write_files(output, deploy_files(kind, targets), force=force)
    except OSError as error:
        return complain("deploy", f"{error.filename}: {error.strerror}", FAILED)
    except ValueError as error:  # a bad address or number, or a file in the way
        return complain("deploy", str(error), MISUSED)
    show(f"wrote {path}" for path in written)
    if not written:
        show([f"{output / kind} is up to date"])
    show(_next_steps(kind, output))
    return 0


def _addresses(option: str, texts: tuple[str, ...]) -> tuple[Address, ...]:
    found = []
    for text in texts:
        try:
            found.append(Address.parse(text))
        except ValueError as error:
            raise ValueError(f"{option} {text}: {error}") from error
    return tuple(found)


def _next_steps(kind: Kind, output: Path) -> list[str]:
    """What to type now."""
    folder = output / kind
    if kind == "prometheus":
        file = folder / "prometheus.yml"
        return [f"check: promtool check config {file}", f"run: prometheus --config.file={file}"]
    if kind == "grafana":
        return [
            f"copy {folder / 'provisioning'} to /etc/grafana/provisioning",
            f"copy {folder / 'dashboards'} to /etc/grafana/inferd",
            "then restart Grafana",
        ]
    if kind == "compose":
        file = folder / "compose.yaml"
        return [f"run: MODELS=/path/to/models GRAFANA_PASSWORD=... docker compose -f {file} up"]
    where = "ELASTICSEARCH_HOSTS=https://... ELASTICSEARCH_API_KEY=id:key"
    return [f"run: {where} filebeat -e -c {folder / 'filebeat.yml'}"]
