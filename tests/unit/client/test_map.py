"""`Model.map` and its asyncio twin against a gateway: order, errors, back-pressure, sharing."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from inferd.client import (
    BulkPosition,
    Client,
    ClientClosed,
    InvalidInput,
    ModelNotFound,
    connect,
    connect_async,
)
from inferd.server.gateway.rpc.services.bulk import stream
from support.calls import ROWS
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


@pytest.fixture
def worker() -> LinkWorker:
    """The worker of model `m`."""
    return LinkWorker()


@pytest.fixture
def address(worker: LinkWorker) -> Iterator[str]:
    """A gateway that serves the model `m`."""
    with GatewayUnderTest() as gateway:
        gateway.deploy("m", ROWS, [worker])
        yield gateway.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """A client of it."""
    with connect(address) as made:
        yield made


def rows(number: int, count: int = 3) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Rows that tell their item."""
    return np.full((count, 2), number, np.float32)


def test_each_item_has_its_answer_in_its_place(client: Client) -> None:
    """As a call would give it, for items by position and by name; nothing is drawn twice."""
    items = [rows(0), (rows(1, 9),), {"x": rows(2)}] + [rows(n) for n in range(3, 60)]
    answers = client.model("m").map(iter(items), in_flight=5)
    assert answers.position == BulkPosition("", 0)
    found = [each[0, 0] for each in answers]
    assert found == list(range(60))
    assert answers.position.index == 60


def test_an_array_is_cut_into_chunks(client: Client) -> None:
    """Of so many rows, or as many as fit; also arrays by name. Put together it is one answer."""
    given = np.arange(200_000, dtype=np.float32).reshape(-1, 4)
    model = client.model("m")
    chunks = list(model.map(given, rows=7_000))
    assert [len(each) for each in chunks] == [7_000] * 7 + [1_000]
    assert np.array_equal(np.concatenate(chunks), given)
    named = list(model.map({"x": given}))
    assert max(len(each) for each in named) == 1024
    assert np.array_equal(np.concatenate(named), given)
    with pytest.raises(InvalidInput, match="equally many"):
        next(model.map({"x": given, "y": given[1:]}))


def test_no_more_is_drawn_than_asked_for(client: Client) -> None:
    """Before the first answer is taken nothing; then so many items ahead of the answers."""
    drawn = []

    def source() -> Iterator[object]:
        for n in range(100):
            drawn.append(n)
            yield rows(n)

    answers = client.model("m").map(source(), in_flight=4)
    assert drawn == []
    for taken in range(1, 20):
        next(answers)
        assert taken <= len(drawn) <= taken + 4
    answers.close()
    with pytest.raises(StopIteration):
        next(answers)


def test_an_item_that_does_not_fit_is_raised_or_returned(client: Client) -> None:
    """In its place; returned, it does not disturb the others."""
    items = [rows(0), np.zeros(3, np.float32), rows(2)]
    first, error, last = client.model("m").map(items, errors="return")
    assert (first[0, 0], last[0, 0]) == (0, 2)
    assert isinstance(error, InvalidInput)
    answers = client.model("m").map(items)
    next(answers)
    with pytest.raises(InvalidInput, match="shape"):
        next(answers)
    with pytest.raises(ModelNotFound):
        client.model("absent").map(items)


BAD = np.zeros(3, np.float32)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("items", "in_flight"), [([rows(0), BAD], 1), ([BAD] * 17, 16)])
def test_nothing_is_waited_for_that_is_there(
    client: Client, items: list[np.ndarray[Any, Any]], in_flight: int, *, ordered: bool
) -> None:
    """An item that is refused before it is sent has no answer to come."""
    found = client.model("m").map(
        items, in_flight=in_flight, errors="return", ordered=ordered, patience=10.0
    )
    assert len(list(found)) == len(items)


def test_answers_as_they_finish_tell_their_item(client: Client) -> None:
    """Each once, with its number."""
    answers = dict(client.model("m").map([rows(n) for n in range(40)], ordered=False))
    assert {number: each[0, 0] for number, each in answers.items()} == {n: n for n in range(40)}


def test_requests_beyond_a_message_are_sent_in_parts(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And their answers are put together again."""
    monkeypatch.setattr(stream, "PART_BYTES", 1000)
    given = np.arange(4_000, dtype=np.float32).reshape(-1, 4)
    first, second = client.model("m").map([given, given + 1])
    assert np.array_equal(first, given)
    assert np.array_equal(second, given + 1)


class Screen(io.StringIO):
    """A terminal that keeps what was shown."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize("known", [True, False])
async def test_a_bar_tells_rate_and_time(
    client: Client, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """How many of how many; without their number neither that nor when they end is known."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    items = [rows(n) for n in range(6)]
    for _ in range(2):
        list(client.model("m").map(items if known else iter(items), progress=True))
        async with connect_async(client.address) as other:
            answers = other.model("m").map(items if known else iter(items), progress=True)
            assert len([each async for each in answers]) == 6
    shown = screen.getvalue()
    last = [line for line in shown.splitlines() if " 6/" in line]
    assert len(last) >= 4
    for line in last:
        assert re.search(r"m .* 6/(6|\?)", line), line
        assert re.search(r"[0-9]/s", line), line
        assert ("6/6" in line, "0:00:00" in line) == (known, known), line


def test_there_is_no_bar_where_nobody_sees_it(
    client: Client, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error that is a file stays empty, standard output in any case; without rich it says so."""
    assert len(list(client.model("m").map([rows(0)] * 3, progress=True))) == 3
    assert capfd.readouterr() == ("", "")
    monkeypatch.setitem(sys.modules, "inferd.client.bulk.bar", None)
    with pytest.raises(ImportError, match="pip install rich"):
        client.model("m").map([rows(0)], progress=True)
    assert len(list(client.model("m").map([rows(0)]))) == 1


def test_one_client_serves_many_threads(client: Client) -> None:
    """Each has its own job, beside calls of all of them."""
    model = client.model("m")

    def work(number: int) -> list[float]:
        found = []
        for each in model.map([rows(number * 100 + n) for n in range(30)]):
            found.append(float(each[0, 0]))
            assert model(rows(7))[0, 0] == 7
        return found

    with ThreadPoolExecutor(6) as pool:
        for number, found in enumerate(pool.map(work, range(6))):
            assert found == [number * 100 + n for n in range(30)]


def test_closing_the_client_ends_its_jobs(client: Client, worker: LinkWorker) -> None:
    """With an error that says so."""
    answers = client.model("m").map([rows(n) for n in range(9)], in_flight=2)
    next(answers)
    worker.go.clear()  # at most two more are answered, and nine were asked
    client.close()
    with pytest.raises(ClientClosed):
        list(answers)
    worker.go.set()


async def test_the_twin_of_asyncio_does_the_same(address: str) -> None:
    """From an asynchronous source, with errors in place; left amid the job, it lets go."""

    async def source() -> object:
        for n in range(30):
            yield rows(n) if n != 4 else np.zeros(3, np.float32)

    async with connect_async(address) as client:
        model = client.model("m")
        found = [each async for each in model.map(source(), errors="return", in_flight=4)]
        assert isinstance(found.pop(4), InvalidInput)
        assert [each[0, 0] for each in found] == [n for n in range(30) if n != 4]
        pairs = [each async for each in model.map([rows(0), rows(1)], ordered=False)]
        assert {number: each[0, 0] for number, each in pairs} == {0: 0, 1: 1}
        answers = model.map([rows(n) for n in range(30)])
        await anext(answers)
        assert answers.position.index == 1
        await answers.aclose()
        with pytest.raises(ModelNotFound):
            await anext(client.model("absent").map([rows(0)]))


async def test_closing_the_client_ends_its_jobs_in_asyncio(
    address: str, worker: LinkWorker
) -> None:
    """At once, too."""
    client = connect_async(address)
    answers = client.model("m").map([rows(n) for n in range(9)], in_flight=2, patience=10.0)
    worker.go.clear()
    waiting = asyncio.ensure_future(anext(answers))
    assert await asyncio.to_thread(worker.arrived.acquire, timeout=10)  # held: nothing is answered
    await client.close()
    with pytest.raises(ClientClosed):
        await waiting
    worker.go.set()
