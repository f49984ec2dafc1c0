"""How many gateways `auto` means, and how many workers on the CPU a repository makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.core.settings import ModelOverride
from inferd.server.supervisor.gateways.number import gateways_for
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.repository.scan import scan
from inferd.server.supervisor.versions.plan import cpu_workers


@pytest.mark.parametrize(
    ("cores", "workers", "expected"),
    [
        (1, 0, 1),
        (1, 7, 1),
        (2, 1, 1),
        (4, 0, 2),
        (4, 1, 1),
        (8, 1, 3),
        (16, 4, 6),
        (16, 0, 8),
        (128, 2, 8),
    ],
)
def test_one_for_every_two_cores_that_are_left(cores: int, workers: int, expected: int) -> None:
    """At least one, at most eight."""
    assert gateways_for(cores, workers) == expected


def test_workers_on_the_cpu_are_counted(tmp_path: Path) -> None:
    """Every version and every device; those on GPUs, and what cannot be placed, take no core."""
    for name, versions, declared in (
        ("plain", (1, 2), ""),
        ("all", (1, 2), 'versions = "all"\ninstances = 2'),
        ("both", (1,), 'devices = ["cuda:0", "cpu"]'),
        ("absent", (1,), 'devices = ["cuda:7"]'),
    ):
        for version in versions:
            (tmp_path / name / str(version)).mkdir(parents=True)
            (tmp_path / name / str(version) / "model.pt2").touch()
        (tmp_path / name / "model.toml").write_text(declared)
    found = scan([tmp_path]).models
    gpu = Machine(cpus=(0, 1), cores=2, gpus=1)

    def override(name: str) -> ModelOverride:
        return ModelOverride(instances=3) if name == "plain" else ModelOverride()

    def counted(machine: Machine, device: str) -> int:
        return cpu_workers(found, override, devices=[device], machine=machine)

    assert counted(gpu, "cpu") == 3 + 4 + 1
    assert counted(gpu, "auto") == 1
    assert counted(Machine(cpus=(0, 1), cores=2, gpus=0), "auto") == 3 + 4
