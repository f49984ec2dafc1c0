"""What this machine offers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from inferd.server.supervisor.replicas.devices import cpu_quota, survey, visible_gpus


def test_survey_sees_this_process() -> None:
    """Cores are those of the affinity mask, at most; torch is not asked."""
    machine = survey({})
    assert set(machine.cpus) == os.sched_getaffinity(0)
    assert 1 <= machine.cores <= len(machine.cpus)
    assert machine.gpus >= 0


def test_no_gpu_is_visible_when_the_environment_hides_them() -> None:
    """CUDA_VISIBLE_DEVICES set to nothing hides all."""
    assert survey({"CUDA_VISIBLE_DEVICES": ""}).gpus == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, 4), ("", 0), ("1", 1), ("3,0", 2), ("0,9,1", 1), ("-1", 0), ("GPU-abc,GPU-def", 2)],
)
def test_the_environment_narrows_the_choice(given: str | None, expected: int) -> None:
    """As CUDA reads it: up to the first that is not there."""
    assert visible_gpus(4, given) == expected


def test_quota_of_cgroup_v2(tmp_path: Path) -> None:
    """Quota over period, or none."""
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None


def test_quota_of_cgroup_v1(tmp_path: Path) -> None:
    """Two files, -1 for none."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    assert cpu_quota(tmp_path) == 2.0
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(tmp_path) is None


def test_no_cgroup_is_no_quota(tmp_path: Path) -> None:
    """Where there is nothing to read, nothing limits."""
    assert cpu_quota(tmp_path) is None


def test_without_the_binding_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without NVIDIA's library still starts."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert survey({}).gpus == 0
