"""Several gateways: each by itself when it dies, all of one mind about what is served."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    AskCounts,
    CommandAnswer,
    CountsReport,
    DrainGateway,
    InstanceLost,
    OpenDoor,
    OtherCounts,
    PublishModel,
    PublishServer,
    RepositoryCommand,
    StartGateway,
    VersionCounts,
)
from inferd.server.supervisor.app import StartError
from inferd.server.supervisor.gateways import doors
from support.stage import Stage, staged, start

ONE, TWO = "gateway-1", "gateway-2"


@asynccontextmanager
async def pair(folder: Path, **options: Any) -> AsyncIterator[Stage]:
    """A stage with two gateways that serves `m1`."""
    async with staged(folder, gateways=2, **options) as stage:
        stage.model("m1")
        summary = await start(stage)
        assert summary.gateways == 2
        yield stage


def links(stage: Stage, name: str) -> list[int]:
    """The links that a gateway was given."""
    return [m.link for m in stage.told_to[name] if isinstance(m, AddInstance)]


async def test_all_are_told_the_same(tmp_path: Path) -> None:
    """One address, the port of the first; each its own link to the worker; then the door opens."""
    async with pair(tmp_path) as stage:
        for name, address in ((ONE, "127.0.0.1:0"), (TWO, "127.0.0.1:4242")):
            begun = await stage.expect(StartGateway, to=name)
            assert (begun.address, begun.share_port) == (address, True)
            assert begun.http == address.replace("4242", "4243")
            await stage.expect(OpenDoor, to=name)
            await stage.expect(AddDeployment, to=name)
            await stage.expect(PublishServer, lambda said: said.ready, to=name)
            assert stage.last_state("m1", to=name) == await stage.state("m1", "READY")
        assert len(set(links(stage, ONE) + links(stage, TWO))) == 2
        assert len(stage.workers()) == 1


async def test_one_alone_shares_no_port_and_is_called_the_gateway(tmp_path: Path) -> None:
    """As if there were no others to be had."""
    async with staged(tmp_path) as stage:
        stage.model("m1")
        assert (await start(stage)).gateways == 1
        assert not (await stage.expect(StartGateway)).share_port
        assert list(stage.told_to) == ["gateway"]
        assert "--name" not in stage.gateway().cmdline()


async def test_as_many_as_the_machine_has_room_for(tmp_path: Path) -> None:
    """With `auto`, one for every two cores that the worker leaves."""
    async with staged(tmp_path, gateways="auto", cores=6) as stage:
        stage.model("m1")
        assert (await start(stage)).gateways == 2
        assert sorted(stage.told_to) == [ONE, TWO]


async def test_one_that_dies_disturbs_nobody(tmp_path: Path) -> None:
    """It comes back, is told everything and only then accepts calls; the other hears nothing."""
    async with pair(tmp_path) as stage:
        ready = await stage.state("m1", "READY")
        before = list(stage.told_to[TWO])
        workers = [each.pid for each in stage.workers()]
        stage.told_to[ONE].clear()
        stage.gateway(ONE).kill()
        assert (await stage.expect(StartGateway, to=ONE)).address == "127.0.0.1:4242"
        await stage.expect(OpenDoor, to=ONE)
        kinds = [type(message).__name__ for message in stage.told_to[ONE]]
        assert kinds == [
            "StartGateway",
            "AddDeployment",
            "AddInstance",
            "PublishModel",
            "PublishServer",
            "OpenDoor",
        ]
        assert stage.last_state("m1", to=ONE) == ready
        assert next(m for m in stage.told_to[ONE] if isinstance(m, PublishServer)).ready
        assert stage.told_to[TWO] == before
        assert [each.pid for each in stage.workers()] == workers


async def test_all_may_die(tmp_path: Path) -> None:
    """Meanwhile nothing is reached; then both know everything again."""
    async with pair(tmp_path) as stage:
        stage.told_to.clear()
        for name in (ONE, TWO):
            stage.gateway(name).kill()
        for name in (ONE, TWO):
            await stage.expect(OpenDoor, to=name)
            await stage.expect(PublishModel, lambda m: m.versions[0].state == "READY", to=name)


async def test_a_worker_is_reached_when_both_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load is answered no sooner; one that dies meanwhile is not waited for."""
    monkeypatch.setattr(doors, "COUNTS_BOUND", 0.1)
    async with pair(tmp_path) as stage:
        stage.gateway(TWO).suspend()
        stage.say(RepositoryCommand(7, "load", "m1"), by=ONE)
        new = await stage.expect(AddDeployment, lambda m: m.deployment == 2, to=ONE)
        await stage.expect(AddInstance, lambda m: m.deployment == 2, to=ONE)
        await _heard_out(stage)
        assert stage.last_state("m1", to=ONE) == await stage.state("m1", "READY")
        assert not any(isinstance(m, CommandAnswer) for m in stage.told)
        stage.gateway(TWO).kill()
        answer = await stage.expect(CommandAnswer, to=ONE)
        assert answer == CommandAnswer(7, None)
        state = stage.last_state("m1", to=ONE)
        assert state is not None
        assert state.deployment == new.deployment
        assert len(stage.workers()) == 1


async def test_unloading_waits_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker lives until each has let go of it, and the answer comes after that."""
    monkeypatch.setattr(doors, "COUNTS_BOUND", 0.1)
    async with pair(tmp_path) as stage:
        other = stage.gateway(TWO)
        other.suspend()
        asked = asyncio.create_task(stage.ask("unload", "m1", by=ONE))
        await stage.expect(PublishModel, lambda m: m.versions[0].state == "UNLOADING", to=ONE)
        await _heard_out(stage)
        assert not asked.done()
        assert len(stage.workers()) == 1
        other.resume()
        assert (await asked).fault is None
        for name in (ONE, TWO):
            state = stage.last_state("m1", to=name)
            assert state is not None
            assert (state.state, state.reason) == ("UNAVAILABLE", "unloaded")
        assert stage.workers() == []


async def test_an_answer_waits_until_both_have_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there is no worker to reach and nothing to drain."""
    monkeypatch.setattr(doors, "COUNTS_BOUND", 0.1)
    async with staged(tmp_path, gateways=2) as stage:
        stage.model("m2", "fail because")
        await start(stage)
        other = stage.gateway(TWO)
        other.suspend()
        asked = asyncio.create_task(stage.ask("unload", "m2", by=ONE))
        await stage.expect(PublishModel, lambda m: m.versions[0].reason == "unloaded", to=ONE)
        await _heard_out(stage)
        assert not asked.done()
        other.resume()
        assert (await asked).fault is None
        state = stage.last_state("m2", to=TWO)
        assert state is not None
        assert state.reason == "unloaded"


async def test_one_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer waits for every gateway to follow, but not for ever."""
    monkeypatch.setattr(doors, "FOLLOW_BOUND", 1.0)  # in which the other one does follow
    async with pair(tmp_path) as stage:
        hangs = stage.gateway(TWO)
        stage.told_to[TWO].clear()
        hangs.suspend()
        answer = await stage.ask("load", "m1", by=ONE)
        assert answer.fault is None
        await stage.expect(OpenDoor, to=TWO)
        assert stage.gateway(TWO).pid != hangs.pid
        assert stage.last_state("m1", to=TWO) == await stage.state("m1", "READY")


async def test_a_worker_that_one_gives_up_is_replaced_once(tmp_path: Path) -> None:
    """The other's word on it comes too late to end the new one."""
    async with pair(tmp_path) as stage:
        (worker,) = stage.workers()
        (of_one,), (of_two,) = links(stage, ONE), links(stage, TWO)
        stage.say(InstanceLost(of_one), by=ONE)
        await stage.state("m1", "UNAVAILABLE", "worker died (signal 9)")
        await stage.state("m1", "READY")
        (successor,) = stage.workers()
        assert successor.pid != worker.pid
        stage.say(InstanceLost(of_two), by=TWO)
        stage.say(InstanceLost(of_one), by=ONE)
        await stage.ask("load", "absent", by=TWO)
        assert [each.pid for each in stage.workers()] == [successor.pid]
        assert len(links(stage, ONE)) == len(links(stage, TWO)) == 2


async def test_an_answer_goes_to_who_asked_and_to_no_successor(tmp_path: Path) -> None:
    """Commands are numbered by each process: another's answer would be taken for its own."""
    async with pair(tmp_path) as stage:
        stage.model("m2", "hang")
        stage.say(RepositoryCommand(1, "load", "m2"), by=ONE)
        await stage.state("m2", "LOADING")
        stage.told_to[ONE].clear()
        stage.gateway(ONE).kill()
        await stage.expect(OpenDoor, to=ONE)
        max(stage.workers(), key=psutil.Process.create_time).kill()
        await stage.state("m2", "UNAVAILABLE", "signal 9")
        assert (await stage.ask("load", "absent", by=TWO)).fault is not None
        assert not any(isinstance(m, CommandAnswer) for m in stage.told_to[ONE])


def report(executions: int) -> CountsReport:
    """A gateway's word that it executed so many batches of m1."""
    return CountsReport((VersionCounts("m1", 1, execution_count=executions),))


async def executions(stage: Stage, ask: int, *, by: str) -> int:
    """What a gateway hears that others have executed of m1."""
    stage.say(AskCounts(ask), by=by)
    await stage.expect(OtherCounts, lambda m: m.ask == ask and m.last, to=by)
    answers = [m for m in stage.told_to[by] if isinstance(m, OtherCounts) and m.ask == ask]
    return sum(each.execution_count for answer in answers for each in answer.counts)


async def test_counts_of_others_are_added_up(tmp_path: Path) -> None:
    """Without those of the gateway that asks; those of one that died stay."""
    async with pair(tmp_path) as stage:
        await stage.report(report(3), by=ONE)
        await stage.report(report(40), by=TWO)
        assert await executions(stage, 1, by=ONE) == 40
        assert await executions(stage, 1, by=TWO) == 3
        stage.told_to[ONE].clear()
        stage.gateway(ONE).kill()
        await stage.expect(OpenDoor, to=ONE)
        assert await executions(stage, 1, by=ONE) == 43
        assert await executions(stage, 2, by=TWO) == 3
        await stage.report(report(5), by=ONE)
        assert await executions(stage, 3, by=TWO) == 8


async def test_one_that_does_not_report_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last report stands; whoever asks does not wait for long."""
    monkeypatch.setattr(doors, "COUNTS_BOUND", 0.1)
    async with pair(tmp_path) as stage:
        await stage.report(report(40), by=TWO)
        assert await executions(stage, 1, by=ONE) == 40
        other = stage.gateway(TWO)
        other.suspend()
        # Until all its threads stand.
        await asyncio.to_thread(os.waitid, os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
        stage.say(report(41), by=TWO)
        assert await executions(stage, 2, by=ONE) == 40
        other.resume()
        await stage.heard(report(41), by=TWO)
        assert await executions(stage, 3, by=ONE) == 41


async def test_all_are_drained(tmp_path: Path) -> None:
    """Each answers what it holds, side by side, within the same grace."""
    async with pair(tmp_path, grace=7) as stage:
        stage.supervisor.stop()
        await stage.run
        for name in (ONE, TWO):
            assert (await stage.expect(DrainGateway, to=name)).grace == 7


async def test_a_port_that_somebody_has_is_told(tmp_path: Path) -> None:
    """Sharing it without a word, as SO_REUSEPORT would, is what nobody asked for."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with staged(tmp_path, gateways=2, grpc=f"127.0.0.1:{port}") as stage:
            stage.model("m1")
            with pytest.raises(StartError, match=rf"{port}: the port is taken; name another"):
                await start(stage)
            assert stage.told == []


async def test_a_second_signal_while_gateways_start_ends_at_once(tmp_path: Path) -> None:
    """Whoever waits for them to listen hears that they will not."""
    async with staged(tmp_path, gateways=2) as stage:
        stage.model("m1")
        stage.run = asyncio.create_task(stage.supervisor.run())
        await stage.expect(StartGateway)
        stage.supervisor.stop()
        stage.supervisor.stop()
        async with asyncio.timeout(20):
            await stage.run


async def _heard_out(stage: Stage) -> None:
    """What the first gateway had to say has been heard; the second one is not waited for."""
    for ask in (1001, 1002):
        await executions(stage, ask, by=ONE)
