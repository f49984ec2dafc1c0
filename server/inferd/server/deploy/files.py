"""The files that `inferd deploy` writes, made of the templates beside this module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath, PurePosixPath
from typing import Literal

from inferd.core.address import Address
from inferd.server.deploy.targets import Targets

Kind = Literal["prometheus", "grafana", "compose", "logging"]

_PLACEHOLDER = re.compile(r"@\{([a-z0-9_]+)\}")
"""Unlike `$` and `{{`, nothing that these files are written in gives it a meaning."""
_DATA_SOURCE = PurePosixPath("grafana/provisioning/datasources/inferd.yaml")
_TARGETS = PurePosixPath("prometheus/targets.yml")


def deploy_files(kind: Kind, targets: Targets) -> Mapping[PurePath, str]:
    """The text of every file of a kind by its path, which begins with the kind's folder.

    Compose brings the files of Prometheus and Grafana, for its containers read them, and has two of
    its own beside its file: in its network the others go by other names.
    """
    if kind != "compose":
        return _rendered(kind, targets)
    inside = replace(targets, ops=(Address("inferd", 8002),), prometheus="http://prometheus:9090")
    prometheus, grafana = _rendered("prometheus", inside), _rendered("grafana", inside)
    return {
        **_rendered("prometheus", targets),
        **_rendered("grafana", targets),
        **_rendered("compose", targets),
        PurePosixPath("compose/targets.yml"): prometheus[_TARGETS],
        PurePosixPath("compose/datasource.yaml"): grafana[_DATA_SOURCE],
    }


def _rendered(kind: Kind, targets: Targets) -> dict[PurePath, str]:
    values = targets.values()
    folder = resources.files(__package__ or "").joinpath("templates", kind)
    return {
        path: _PLACEHOLDER.sub(lambda found: values[found[1]], each.read_text("utf-8"))
        for path, each in _walk(folder, PurePosixPath(kind))
    }


def _walk(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for each in sorted(folder.iterdir(), key=lambda at: at.name):
        if each.is_dir():
            yield from _walk(each, below / each.name)
        else:
            yield below / each.name, each
