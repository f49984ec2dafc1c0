"""A server that cannot start, and one that ends: quickly, with a reason, leaving nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inferd.core.link.messages import DrainGateway, VersionState
from inferd.server.supervisor.app import StartError
from inferd.server.supervisor.replicas import instance
from support.descriptors import descriptors
from support.stage import staged, start

BOUND = 60.0
"""Seconds in which all has ended that does not wait for time to run out."""


@pytest.fixture(autouse=True)
def _long_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is asked to stop has far more time for it than a test waits."""
    monkeypatch.setattr(instance, "STOP_BOUND", 10 * BOUND)


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Workers that do not stop are killed without waiting for their time to run out."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "linger")
        await start(stage)
        (worker,) = stage.workers()
        stage.supervisor.stop()
        await stage.expect(DrainGateway)
        assert worker.is_running()
        stage.supervisor.stop()
        async with asyncio.timeout(BOUND):
            await stage.run
        assert stage.children() == []


async def test_stopping_while_models_load_ends_at_once(tmp_path: Path) -> None:
    """A worker that still loads has nothing to finish; the server was never ready."""
    async with staged(tmp_path) as stage:
        stage.model("m1", "hang")
        stage.run = asyncio.create_task(stage.supervisor.run())
        await stage.state("m1", "LOADING")
        stage.supervisor.stop()
        async with asyncio.timeout(BOUND):
            await stage.run
        assert stage.summary is None


async def test_stopping_twice_while_models_load_is_no_error(tmp_path: Path) -> None:
    """Those that load are killed, those that wait for their turn are never started."""
    async with staged(tmp_path, parallel_loads=1) as stage:
        stage.model("m1", "hang")
        stage.model("m2")
        stage.run = asyncio.create_task(stage.supervisor.run())
        await stage.state("m1", "LOADING")
        await stage.state("m2", "LOADING")
        stage.supervisor.stop()
        await stage.expect(DrainGateway)
        stage.supervisor.stop()
        async with asyncio.timeout(BOUND):
            await stage.run
        assert stage.children() == []
        assert stage.last_state("m2") == VersionState(1, "LOADING", "", None)


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    """With what to do about it; nothing stays behind."""
    async with staged(tmp_path, grpc="127.0.0.1:1") as stage:
        stage.model("m1")
        with pytest.raises(StartError, match=r"address already in use; name another"):
            await start(stage)


async def test_a_ready_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Before anything is started, rather than after minutes of loading."""
    async with staged(tmp_path, ready_file=tmp_path / "absent" / "ready.json") as stage:
        stage.model("m1", "hang")
        with pytest.raises(StartError, match=r"ready file .* cannot be written: No such file"):
            await start(stage)
        assert stage.told == []


async def test_nothing_to_serve_is_told(tmp_path: Path) -> None:
    """An empty repository is a mistake of the command line."""
    async with staged(tmp_path) as stage:
        with pytest.raises(StartError, match="no model in"):
            await start(stage)


async def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """After everything has ended, none is open that was not before."""
    before = descriptors()
    async with staged(tmp_path) as stage:
        stage.model("m1")
        await start(stage)
        stage.workers()[0].kill()
        await stage.state("m1", "UNAVAILABLE")
        await stage.state("m1", "READY")
        assert (await stage.ask("load", "m1")).fault is None
    assert descriptors().items() <= before.items()
