"""`inferd deploy` and what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from cyclopts import App

from inferd.server.cli.deploy import deploy
from inferd.server.deploy.files import Kind, deploy_files
from inferd.server.deploy.targets import Targets

HOUSE = Path(__file__).resolve().parents[3]
TEMPLATES = HOUSE / "server" / "inferd" / "server" / "deploy" / "templates"
KINDS: tuple[Kind, ...] = tuple(each for each in get_args(Kind) if (TEMPLATES / each).is_dir())


def run(*arguments: str) -> int:
    """The exit code of `inferd deploy` with these arguments."""
    app = App(result_action="return_value", print_error=True)
    app.command(deploy)
    code: int = app(["deploy", *arguments])
    return code


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_deploy_is_what_the_command_writes(kind: Kind) -> None:
    """With its defaults, file by file: after a change of a template run `inferd deploy … --force`."""
    files = deploy_files(kind, Targets())
    for path, text in files.items():
        assert (HOUSE / "deploy" / path).read_text() == text, path
    there = {each.relative_to(HOUSE / "deploy") for each in (HOUSE / "deploy" / kind).rglob("*.*")}
    assert there == {Path(path) for path in files if path.parts[0] == kind}


def test_addresses_go_where_they_belong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Operations ports and Alertmanager into what Prometheus reads; objectives into alerts."""
    options = ["--ops", "gpu-1:8002", "[::1]:9002", "--alertmanager", "alerts:9093"]
    options += ["--interval", "5s", "--availability", "0.99", "--latency", "0.25"]
    assert run("prometheus", "--output", str(tmp_path), *options) == 0
    folder = tmp_path / "prometheus"
    assert _yaml(folder / "targets.yml") == [{"targets": ["gpu-1:8002", "[::1]:9002"]}]
    config = _yaml(folder / "prometheus.yml")
    assert config["global"] == {"scrape_interval": "5s", "evaluation_interval": "5s"}
    (manager,) = config["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alerts:9093"]}]
    alerts = (folder / "rules" / "alerts.yml").read_text()
    assert "error_ratio_rate1h > (14.4 * 0.01)\n" in alerts
    assert "p99_rate5m > 0.25\n" in alerts
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"check: promtool check config {folder}/prometheus.yml",
        f"run: prometheus --config.file={folder}/prometheus.yml",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_is_there(
    workplace: Path, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    """Every file that it claims to have written, and those of the next steps."""
    assert run(kind, "--output", str(workplace)) == 0
    told = capsys.readouterr().out
    paths = re.findall(rf"{re.escape(str(workplace))}[\w./-]+", told)
    assert len(paths) > told.count("wrote ")
    assert [path for path in paths if not Path(path).exists()] == []


def test_nothing_is_left_to_fill_in() -> None:
    """Every placeholder of every template has its text, and every template is some kind's."""
    assert {each.name for each in TEMPLATES.iterdir()} == set(KINDS)
    for kind in KINDS:
        for path, text in deploy_files(kind, Targets()).items():
            assert "@{" not in text, path


def test_what_somebody_changed_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that differs is named and nothing is written, unless --force says so."""
    place = ("prometheus", "--output", str(tmp_path))
    mine = tmp_path / "prometheus" / "targets.yml"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    assert run(*place) == 2
    assert f"{mine} is there already and differs; --force replaces it" in capsys.readouterr().err
    assert [each.name for each in mine.parent.iterdir()] == ["targets.yml"]
    assert run(*place, "--force") == 0
    assert "127.0.0.1:8002" in mine.read_text()
    before = mine.stat().st_mtime_ns
    assert run(*place) == 0
    assert mine.stat().st_mtime_ns == before
    assert f"{mine.parent} is up to date\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--ops", "8002"), 2, "--ops 8002: expected HOST:PORT"),
        (("--ops", "gpu-1:0"), 2, "gpu-1:0: expected the port it listens on"),
        (
            ("--alertmanager", "http://alerts:9093"),
            2,
            "--alertmanager http://alerts:9093: expected",
        ),
        (("--prometheus", "prometheus:9090"), 2, "expected a URL such as http://127.0.0.1:9090"),
        (("--prometheus", 'http://a"\nb'), 2, "expected something like http://127.0.0.1:9090"),
        (("--runbooks", 'x" }'), 2, "expected something like https://"),
        (("--interval", "soon"), 2, "--interval soon: expected something like 15s"),
        (("--image", "inferd:gpu\nx"), 2, "expected something like inferd:gpu"),
        (
            ("--availability", "99.9"),
            2,
            "--availability 99.9: expected more than 0 and less than 1",
        ),
        (("--availability", "nan"), 2, "--availability nan: expected"),
        (("--latency", "0"), 2, "--latency 0: expected more than 0 seconds"),
        (("--output", "/proc/here"), 1, "No such file or directory"),
    ],
)
def test_mistakes_are_told(
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """On stderr, before anything is written: what arrived and what was expected."""
    assert run("prometheus", *arguments) == code
    assert message in capsys.readouterr().err
    assert list(workplace.iterdir()) == []


def test_compose_mounts_what_is_written() -> None:
    """Each file or folder that a container reads is one of those that the command writes."""
    files = {path.as_posix() for path in deploy_files("compose", Targets())}
    folders = {parent.as_posix() for path in map(Path, files) for parent in path.parents}
    services = _compose()["services"]
    mounts = [mount.split(":")[0] for each in services.values() for mount in each["volumes"]]
    own = [(Path("compose") / mount) for mount in mounts if mount.startswith(".")]
    assert len(own) == 5
    for path in own:
        parts = [part for part in path.parts if part != ".."]
        found = "/".join(parts[1:] if ".." in path.parts else parts)
        assert found in files | folders, found
    assert "inferd:8002" in deploy_files("compose", Targets())[Path("compose/targets.yml")]


def test_compose_publishes_on_loopback_and_never_operations() -> None:
    """Prometheus reaches the operations port by the containers' network; no other machine does."""
    services = _compose()["services"]
    published = {name: each.get("ports", []) for name, each in services.items()}
    assert {port.rsplit(":", 2)[0] for ports in published.values() for port in ports} == {
        "127.0.0.1"
    }
    assert [port for port in published["inferd"] if "8002" in port] == []
    assert services["inferd"]["environment"] == {"INFERD_OPS": "0.0.0.0:8002"}
    assert "--insecure" in services["inferd"]["command"]
    for name, each in services.items():
        assert ":" in each["image"], f"{name}: a version is named"
        assert not each["image"].endswith(":latest")


def test_compose_has_keys_of_compose_only() -> None:
    """A misspelt key would stop it where it is used."""
    allowed = "image command environment ports expose volumes healthcheck stop_grace_period restart depends_on deploy"
    for path in ("compose.yaml", "gpu.yaml"):
        document = yaml.safe_load(deploy_files("compose", Targets())[Path("compose") / path])
        assert document.keys() <= {"name", "services", "volumes"}
        for service in document["services"].values():
            assert service.keys() <= set(allowed.split())


def test_data_sources_and_dashboards_are_whole() -> None:
    """Each file is a document of its kind."""
    for path, text in deploy_files("compose", Targets()).items():
        if path.suffix == ".json":
            assert json.loads(text)["panels"], path
        else:
            assert yaml.safe_load(text), path


def _compose() -> Any:
    return yaml.safe_load(deploy_files("compose", Targets())[Path("compose/compose.yaml")])


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())
