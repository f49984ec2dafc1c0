"""Those who wait for a round share it; nobody shares one that had begun before."""

from __future__ import annotations

import asyncio

import pytest

from inferd.server.supervisor.gateways.rounds import Rounds


class Asked:
    """Rounds whose ends the test decides, and who was asked in each."""

    def __init__(self) -> None:
        self.rounds = Rounds[str](self._make)
        self.made: list[frozenset[str]] = []
        self._ends: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def begin(self, *members: str) -> asyncio.Task[None]:
        """Somebody who waits for a round."""
        task = asyncio.create_task(self.rounds.join(members))
        await _settle()
        return task

    async def end(self, error: Exception | None = None) -> None:
        """The round under way ends."""
        self._ends.put_nowait(error)
        await _settle()

    async def _make(self, members: frozenset[str]) -> None:
        self.made.append(members)
        if (error := await self._ends.get()) is not None:
            raise error


async def test_all_who_wait_share_the_next_round() -> None:
    """Three that come while one is under way cost one more, which asks whom any of them needs."""
    asked = Asked()
    first = await asked.begin("a")
    others = [await asked.begin(*members) for members in ("bc", "ac", "c")]
    assert asked.made == [{"a"}]
    await asked.end()
    assert first.done()
    assert not any(each.done() for each in others)
    assert asked.made == [{"a"}, {"a", "b", "c"}]
    await asked.end()
    assert all(each.done() for each in others)
    assert len(asked.made) == 2


async def test_a_round_under_way_is_nobody_elses() -> None:
    """Whoever comes while a shared round is under way waits for the one after it."""
    asked = Asked()
    await asked.begin("a")
    second = await asked.begin("a")
    await asked.end()
    third = await asked.begin("a")
    await asked.end()
    assert second.done()
    assert not third.done()
    assert len(asked.made) == 3
    await asked.end()
    assert third.done()
    alone = await asked.begin("b")
    assert asked.made[3:] == [{"b"}]
    await asked.end()
    assert alone.done()


async def test_others_make_the_round_of_one_who_gave_up() -> None:
    """Cancelled or failed, it takes nobody else's answer along."""
    asked = Asked()
    first = await asked.begin("a")
    gives_up, fails, stays = [await asked.begin(each) for each in "bcd"]
    await asked.end()
    assert first.done()
    gives_up.cancel()
    await _settle()
    await asked.end(OSError("no descriptor left"))
    with pytest.raises(OSError, match="no descriptor left"):
        await fails
    assert not stays.done()
    await asked.end()
    assert stays.done()
    assert asked.made[1:] == [{"b", "c", "d"}] * 3


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
