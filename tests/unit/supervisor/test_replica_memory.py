"""What workers say of their GPU's memory, and what gateways are told of versions' memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferd.core.link.messages import (
    AskCounts,
    MemoryReport,
    MemoryUsage,
    OtherCounts,
    Pinning,
    VersionMemory,
)
from inferd.server.supervisor.gateways import doors
from inferd.server.supervisor.replicas.replica import Replica
from inferd.server.supervisor.resources import readings
from support.stage import Stage, staged, start


def replica(stage: Stage) -> Replica:
    """The only worker of m1."""
    deployment = stage.supervisor._library.deployment("m1", 1)
    assert deployment is not None
    return deployment.replicas[0]


async def answers(stage: Stage, ask: int) -> list[OtherCounts]:
    """What the gateway hears when it asks."""
    stage.say(AskCounts(ask))
    await stage.expect(OtherCounts, lambda m: m.ask == ask and m.last)
    return [m for m in stage.told if isinstance(m, OtherCounts) and m.ask == ask]


async def memory(stage: Stage, ask: int) -> list[VersionMemory]:
    """What it hears of versions."""
    return [each for answer in await answers(stage, ask) for each in answer.memory]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests may take its time."""
    monkeypatch.setattr(readings, "BOUND", 20.0)


async def test_the_last_report_is_kept_until_the_worker_dies(tmp_path: Path) -> None:
    """A dead worker holds nothing, and its successor nothing that it has not told."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "memory 7")
        await start(stage)
        assert replica(stage).memory == MemoryReport(7, 14, 21)
        stage.model("m1")  # the next one will not tell
        stage.workers()[0].kill()
        await stage.state("m1", "UNAVAILABLE")
        await stage.state("m1", "READY")
        assert replica(stage).memory is None


async def test_memory_of_versions_comes_with_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of their workers, in as many messages as it takes; of what is unloaded, none."""
    monkeypatch.setattr(doors, "MEMORY_PART", 1)
    async with staged(tmp_path) as stage:
        stage.model("m1")
        stage.model("m2")
        await start(stage)
        told = await answers(stage, 1)
        assert [len(each.memory) for each in told] == [1, 1]
        for name, each in zip(("m1", "m2"), told, strict=True):
            ((model, version, (usage,)),) = ((m.model, m.version, m.usage) for m in each.memory)
            assert (model, version, usage.kind, usage.device) == (name, 1, "CPU", 0)
            assert 1 << 20 < usage.nbytes < 1 << 30
        assert (await stage.ask("unload", "m1")).fault is None
        assert [each.model for each in await memory(stage, 2)] == ["m2"]


async def test_what_torch_says_counts_where_no_driver_does(tmp_path: Path) -> None:
    """The GPU is that of the worker's device."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "memory 7")
        await start(stage)
        replica(stage).pinning = Pinning("cuda:77")
        (found,) = await memory(stage, 1)
        assert found.usage[1:] == (MemoryUsage("GPU", 77, 14),)


async def test_counts_are_told_whatever_becomes_of_memory(tmp_path: Path) -> None:
    """Nobody waits for ever because something could not be read."""

    async def fail() -> tuple[VersionMemory, ...]:
        raise OSError("too many open files")

    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        stage.supervisor._doors._memory = fail
        (answer,) = await answers(stage, 1)
        assert answer.memory == ()
