"""Client processes end with the fleet, also where not all of them could be started."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from inferd.bench.fleet.fleet import Fleet, FleetError
from inferd.bench.orders import Connect


async def test_one_that_cannot_be_started_leaves_none_behind(tmp_path: Path) -> None:
    """The reason is told as the fleet's, and the one started before is ended."""
    (tmp_path / "client-1.log").mkdir()  # where its complaints would go
    connect = Connect("127.0.0.1:1", str(tmp_path), connections=1, stream=False, transport="auto")
    async with Fleet(connect, tmp_path) as fleet:
        with pytest.raises(
            FleetError, match=r"client process 2 cannot be started: .*client-1\.log"
        ):
            await fleet.grow(2)
        assert len(_clients()) == 1
    assert _clients() == []


def _clients() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # other tests' children, at their end
            if "inferd.bench.client" in child.cmdline():
                found.append(child)
    return found
