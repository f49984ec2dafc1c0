"""Gateways that hang while a server starts, that cannot be told, and many who ask at once."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from inferd.core.link.messages import (
    AskCounts,
    FromGateway,
    OpenDoor,
    OtherCounts,
    ReportCounts,
    StartGateway,
)
from inferd.core.link.sockets import socket_pair
from inferd.server.supervisor.gateways import doors
from inferd.server.supervisor.gateways.door import Door
from inferd.server.supervisor.replicas import links
from inferd.server.supervisor.versions.deployment import Deployment
from support.stage import staged, start

ONE, TWO = "gateway-1", "gateway-2"


async def test_one_that_hangs_does_not_hold_up_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced once it has not followed in time, not after the time that a load may take."""
    monkeypatch.setattr(doors, "FOLLOW_BOUND", 1.0)  # in which the other one does follow
    may_load, load = asyncio.Event(), Deployment.load

    async def load_later(deployment: Deployment, slots: asyncio.Semaphore) -> None:
        await may_load.wait()
        await load(deployment, slots)

    monkeypatch.setattr(Deployment, "load", load_later)
    async with staged(tmp_path, gateways=2) as stage:
        stage.model("m1")
        starting = asyncio.create_task(start(stage))
        await stage.expect(OpenDoor, to=TWO)
        hangs = stage.gateway(TWO)
        hangs.suspend()
        stage.told_to[TWO].clear()
        may_load.set()
        (served,) = (await starting).versions
        assert served.state == "READY"
        await stage.expect(OpenDoor, to=TWO)
        assert stage.gateway(TWO).pid != hangs.pid
        assert stage.last_state("m1", to=TWO) == await stage.state("m1", "READY")


async def test_one_that_cannot_be_told_all_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts no calls; the one after it is told everything and does."""
    async with staged(tmp_path, gateways=2) as stage:
        stage.model("m1")
        await start(stage)
        failures = iter([OSError(errno.EMFILE, os.strerror(errno.EMFILE))])

        def scarce() -> tuple[socket.socket, socket.socket]:
            for failure in failures:
                raise failure
            return socket_pair()

        monkeypatch.setattr(links, "socket_pair", scarce)
        stage.told_to[ONE].clear()
        stage.gateway(ONE).kill()
        await stage.expect(OpenDoor, to=ONE)
        kinds = [type(message) for message in stage.told_to[ONE]]
        assert kinds.count(StartGateway) == 2
        assert kinds.count(OpenDoor) == 1
        assert kinds[-1] is OpenDoor
        assert stage.last_state("m1", to=ONE) == await stage.state("m1", "READY")


async def test_many_who_ask_at_once_share_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways report once for the first question, once for the five that come meanwhile."""
    monkeypatch.setattr(doors, "COUNTS_BOUND", 20.0)
    heard, said = asyncio.Semaphore(0), doors.Doors.gateway_said

    def hear(self: doors.Doors, gateway: Door, message: FromGateway) -> None:
        said(self, gateway, message)
        if isinstance(message, AskCounts):
            heard.release()

    monkeypatch.setattr(doors.Doors, "gateway_said", hear)
    async with staged(tmp_path, gateways=2) as stage:
        stage.model("m1")
        await start(stage)
        reporter = stage.gateway(TWO)
        reporter.suspend()
        for ask in range(6):
            stage.say(AskCounts(ask), by=ONE)
        for _ in range(6):
            await heard.acquire()
        reporter.resume()
        for ask in range(6):
            await stage.expect(OtherCounts, partial(_answers, ask), to=ONE)
        assert sum(isinstance(m, ReportCounts) for m in stage.told_to[TWO]) == 2
        assert not any(isinstance(m, ReportCounts) for m in stage.told_to[ONE])


def _answers(ask: int, message: OtherCounts) -> bool:
    return message.ask == ask and message.last
