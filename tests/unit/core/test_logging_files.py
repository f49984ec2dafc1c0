"""Filebeat's configuration and Elasticsearch's template: well formed, and about fields that are logged."""

from __future__ import annotations

import importlib
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from inferd.core.telemetry import logs
from inferd.core.telemetry.ecs import ECS_NAMES

HOUSE = Path(__file__).resolve().parents[3]
FILES = HOUSE / "deploy" / "logging"
TEMPLATES = HOUSE / "server/inferd/server/deploy/templates/logging"
PAGE = HOUSE / "docs" / "logs.md"

OURS = ("model", "version", "method", "status", "stream", "worker", "dropped")
"""Key words of ours that pages and searches rely on."""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of all fields that lines have."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", "json", "x", stream)
    try:
        dict[str, int]()["gone"]
    except KeyError:
        words = dict.fromkeys([*ECS_NAMES, *OURS], "x")
        logs.get_logger("a").exception("all", duration_ms=1.0, **words)
    yield set(_names(json.loads(stream.getvalue())))
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _names(document: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _names(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _mapped(properties: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in properties.items():
        if "properties" in value:
            yield from _mapped(value["properties"], f"{before}{key}.")
        else:
            yield f"{before}{key}"


def test_the_files_are_those_that_the_package_carries() -> None:
    """What lies in the repository is what `inferd` writes elsewhere."""
    names = {each.name for each in FILES.iterdir()}
    assert (
        names
        == {each.name for each in TEMPLATES.iterdir()}
        == {
            "filebeat.yml",
            "index-template.json",
        }
    )
    for name in names:
        assert (FILES / name).read_text() == (TEMPLATES / name).read_text()


def test_the_template_maps_the_fields_that_are_logged(logged: set[str]) -> None:
    """All of them and no others, so that a name that changes here changes there."""
    template = json.loads((FILES / "index-template.json").read_text())["template"]
    mapped = set(_mapped(template["mappings"]["properties"]))
    assert mapped == logged - {"ecs.version"}


def test_filebeat_reads_lines_of_json_into_what_the_template_is_for() -> None:
    """Fields at the root, expanded; the index, the template and its file belong together."""
    settings = importlib.import_module("yaml").safe_load((FILES / "filebeat.yml").read_text())
    (source,) = settings["filebeat.inputs"]
    assert source["type"] == "filestream"
    assert source["id"]
    (parser,) = source["parsers"]
    assert parser["ndjson"] == {
        "target": "",
        "overwrite_keys": True,
        "expand_keys": True,
        "add_error_key": True,
    }
    template = json.loads((FILES / settings["setup.template.json.path"]).read_text())
    (pattern,) = template["index_patterns"]
    assert settings["setup.template.pattern"] == pattern
    assert settings["output.elasticsearch"]["index"].startswith(pattern.rstrip("*"))
    assert settings["setup.template.name"] == settings["setup.template.json.name"]
    assert settings["setup.template.json.data_stream"] is ("data_stream" in template)


def test_filebeat_is_told_addresses_and_secrets_by_its_environment() -> None:
    """No key is written down, and every variable has a default, or Filebeat would not start."""
    text = (FILES / "filebeat.yml").read_text()
    found = re.findall(r"\$\{([A-Z_]+)(:?)", text)
    assert sorted(found) == [
        ("ELASTICSEARCH_API_KEY", ":"),
        ("ELASTICSEARCH_HOSTS", ":"),
        ("INFERD_LOGS", ":"),
    ]


def test_the_page_has_every_field(logged: set[str]) -> None:
    """`docs/logs.md` tells what each is."""
    page = PAGE.read_text()
    assert {name for name in logged if f"`{name}`" not in page} == set()
