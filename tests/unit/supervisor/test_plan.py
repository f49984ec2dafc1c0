"""What it takes to serve a model."""

from __future__ import annotations

from pathlib import Path

from inferd.core.link.messages import Pinning, SequenceTerms
from inferd.core.settings import ModelOverride
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.repository.scan import FoundModel, scan
from inferd.server.supervisor.versions.plan import Obstacle, QueueTerms, VersionPlan, plan

MACHINE = Machine(cpus=(0, 1, 2, 3), cores=4, gpus=0)
TRUST = ModelOverride(trust=True)


def _model(folder: Path, toml: str = "", versions: tuple[int, ...] = (1,)) -> FoundModel:
    for version in versions:
        (folder / "m" / str(version)).mkdir(parents=True)
        (folder / "m" / str(version) / "model.py").touch()
    (folder / "m" / "model.toml").write_text(toml)
    (model,) = scan([folder / "m"]).models
    return model


def _plan(model: FoundModel, override: ModelOverride) -> tuple[VersionPlan | Obstacle, ...]:
    return plan(model, override, devices=("auto",), machine=MACHINE)


def test_a_plan_has_source_workers_and_queue(tmp_path: Path) -> None:
    """What was declared, under what the operator says, on this machine."""
    toml = 'max_batch_size = 4\ninstances = 2\nmax_queue_size = 9\n[[input]]\nname = "x"\ndatatype = "ANY"'
    override = ModelOverride(trust=True, max_queue_delay_ms=3, max_batch_size=2)
    (found,) = _plan(_model(tmp_path, toml), override)
    assert isinstance(found, VersionPlan)
    assert found.pinnings == (Pinning("cpu", (), 2), Pinning("cpu", (), 2))
    assert found.queue == QueueTerms(max_size=9, max_delay=0.003)
    source = found.source
    assert (source.name, source.version, source.kind) == ("m", 1, "code")
    assert (source.max_batch_size, source.inputs[0].name) == (2, "x")
    assert source.path == str((tmp_path / "m" / "1").absolute())


def test_versions_are_chosen_by_the_model_or_by_the_operator(tmp_path: Path) -> None:
    """The latest by default; the operator's choice over the model's."""
    model = _model(tmp_path, 'versions = "all"', versions=(1, 2, 3))
    assert [each.version for each in _plan(model, TRUST)] == [1, 2, 3]
    override = ModelOverride(trust=True, versions="latest")
    assert [each.version for each in _plan(model, override)] == [3]


def test_code_needs_trust(tmp_path: Path) -> None:
    """Without it the reason says how to give it."""
    (found,) = _plan(_model(tmp_path), ModelOverride())
    assert isinstance(found, Obstacle)
    assert "trust = true under [model.m] in inferd.toml, or inferd serve --trust m" in found.reason


def test_a_refused_file_needs_trust(tmp_path: Path) -> None:
    """The pre-flight's reason and the way around it; with trust there is no pre-flight."""
    (tmp_path / "m.pt2").write_bytes(b"nonsense")
    (model,) = scan([tmp_path / "m.pt2"]).models
    (found,) = _plan(model, ModelOverride())
    assert isinstance(found, Obstacle)
    assert "m.pt2 was refused: not a zip archive" in found.reason
    assert "--trust m" in found.reason
    (found,) = _plan(model, TRUST)
    assert isinstance(found, VersionPlan)


def test_a_file_that_vanished_is_told(tmp_path: Path) -> None:
    """Between the scan and the plan."""
    (tmp_path / "m.pt2").touch()
    (model,) = scan([tmp_path / "m.pt2"]).models
    (tmp_path / "m.pt2").unlink()
    (found,) = _plan(model, ModelOverride())
    assert isinstance(found, Obstacle)
    assert found.reason == "m.pt2 cannot be read: No such file or directory"


def test_what_concerns_all_versions_stops_all(tmp_path: Path) -> None:
    """A device that is not there, a version that is not there, a broken declaration."""
    model = _model(tmp_path, versions=(1, 2))
    for override, reason in [
        (ModelOverride(devices=("cuda:0",)), "device 'cuda:0' is asked for"),
        (ModelOverride(versions=(7,)), "version 7 is asked for and not there; there: 1, 2"),
    ]:
        found = _plan(model, override)
        assert [each.version for each in found] == [1, 2]
        assert all(isinstance(each, Obstacle) and reason in each.reason for each in found)
    found = _plan(FoundModel("m", tmp_path, problem="broken"), TRUST)
    assert found == (Obstacle(1, "broken"),)


def test_one_bad_version_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each is judged by itself."""
    model = _model(tmp_path, versions=(1, 2))
    (tmp_path / "m" / "1" / "model.py").unlink()
    (model,) = scan([model.path]).models
    first, second = _plan(model, ModelOverride(trust=True, versions="all"))
    assert isinstance(first, Obstacle)
    assert isinstance(second, VersionPlan)


def test_sequences_need_one_gateway_and_own_code(tmp_path: Path) -> None:
    """Nobody else could keep their state, or find it again."""
    model = _model(tmp_path, "[sequences]\nmax_active = 3")
    (found,) = _plan(model, TRUST)
    assert isinstance(found, VersionPlan)
    assert found.source.sequences
    assert found.sequences == SequenceTerms(max_active=3)
    (refused,) = plan(model, TRUST, devices=("auto",), machine=MACHINE, gateways=2)
    assert isinstance(refused, Obstacle)
    assert "serve it with gateways = 1" in refused.reason
    (tmp_path / "m" / "1" / "model.py").rename(tmp_path / "m" / "1" / "model.pt2")
    (exported,) = scan([tmp_path / "m"]).models
    (refused,) = _plan(exported, TRUST)
    assert isinstance(refused, Obstacle)
    assert "[sequences] in model.toml is for own code" in refused.reason
