"""The commands and names of docs/monitoring.md."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from inferd.server.cli.main import main
from support.promql import dashboards, known_series

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "monitoring.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)


def test_commands_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, each in the same folder; then what they have written is there and valid."""
    monkeypatch.chdir(tmp_path)
    ran = [command for command in COMMANDS if command.startswith("inferd deploy ")]
    assert [command.split()[2] for command in ran] == ["prometheus", "grafana", "compose"]
    for command in ran:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command)[1:])
        assert ended.value.code == 0, command
    for path in re.findall(r"deploy/(?:compose|grafana|prometheus)[\w/.]*\w", PAGE):
        assert (tmp_path / path).exists(), path
    for file in ("compose.yaml", "gpu.yaml"):
        assert (tmp_path / "watched" / "compose" / file).exists()
        assert f"-f {file}" in PAGE
    (check,) = [command for command in COMMANDS if command.startswith("promtool ")]
    if shutil.which("promtool") is not None:
        subprocess.run(shlex.split(check), check=True, capture_output=True)


def test_names_on_the_page_are_names_that_there_are() -> None:
    """Recorded series, and dashboards."""
    recorded = set(re.findall(r"`([a-z_]+:[a-z0-9_]+:[a-z0-9_]+)`", PAGE))
    assert len(recorded) > 8
    assert recorded <= known_series().keys()
    pages = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Grafana")[1], re.MULTILINE))
    assert pages == {path.stem for path in dashboards()}
