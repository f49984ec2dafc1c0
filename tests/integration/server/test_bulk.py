"""A bulk job whose server is killed on the way, and started again at the same address."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from inferd.client import BulkPosition, connect, connect_async
from support.repository import write_scale
from support.server import Server, lasting_address, wait_for_end

ROWS, CHUNKS = 100, 200


def chunk(number: int) -> npt.NDArray[np.float32]:
    """The rows of one chunk; no two of a job are alike."""
    first = number * ROWS * 4
    return np.arange(first, first + ROWS * 4, dtype=np.float32).reshape(ROWS, 4)


@pytest.mark.timeout(400)  # three starts of a server
def test_a_job_survives_its_server_twice(tmp_path: Path) -> None:
    """20,000 rows, two SIGKILLs: every answer is there once, in its order."""
    write_scale(tmp_path / "repository" / "scale", 1, 2.0)
    with ExitStack() as servers:
        address = lasting_address()
        server = servers.enter_context(Server(tmp_path, [tmp_path / "repository"], address=address))
        with connect(address) as client:
            answers = client.model("scale").map(chunk(n) for n in range(CHUNKS))
            for number, answer in enumerate(answers):
                assert np.array_equal(answer, 2 * chunk(number)), number
                if number in (CHUNKS // 3, 2 * CHUNKS // 3):
                    server = _killed_and_started_again(servers, server, tmp_path, address)
            assert number == CHUNKS - 1
            assert answers.position.index == CHUNKS


def test_a_job_goes_on_in_another_process(tmp_path: Path) -> None:
    """From a position, with a client that knows nothing else of it; asyncio's does the same."""
    write_scale(tmp_path / "repository" / "scale", 1, 2.0)

    async def rest(at: BulkPosition) -> list[float]:
        async with connect_async(server.address) as client:
            items = (chunk(n) for n in range(at.index, 12))
            return [float(each[0, 0]) async for each in client.model("scale").map(items, resume=at)]

    with Server(tmp_path, [tmp_path / "repository"]) as server:
        with connect(server.address) as client:
            answers = client.model("scale").map(chunk(n) for n in range(12))
            first = [float(next(answers)[0, 0]) for _ in range(5)]
            at = answers.position
            answers.close()
        assert first + asyncio.run(rest(at)) == [2.0 * chunk(n)[0, 0] for n in range(12)]
        assert at.index == 5


def _killed_and_started_again(
    servers: ExitStack, server: Server, folder: Path, address: str
) -> Server:
    processes = server.tree()
    server.kill_supervisor()
    assert wait_for_end(processes, 20) == []
    return servers.enter_context(Server(folder, [folder / "repository"], address=address))
