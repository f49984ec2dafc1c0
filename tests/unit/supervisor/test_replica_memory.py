"""What a worker says of its GPU's memory, kept beside the worker."""

from __future__ import annotations

from pathlib import Path

from inferd.core.link.messages import MemoryReport
from inferd.server.supervisor.replicas.replica import Replica
from support.stage import Stage, staged, start


def replica(stage: Stage) -> Replica:
    """The only worker of m1."""
    deployment = stage.supervisor._library.deployment("m1", 1)
    assert deployment is not None
    return deployment.replicas[0]


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
