"""A question to several members ends when each has answered, or cannot any more."""

from __future__ import annotations

import asyncio

from inferd.server.supervisor.gateways.roll_call import RollCall

LONG = 20.0


class Asked:
    """Keeps who was asked under which number."""

    def __init__(self) -> None:
        self.roll = RollCall[str]()
        self.numbers: dict[str, int] = {}

    async def begin(self, *members: str, bound: float = LONG) -> asyncio.Task[frozenset[str]]:
        """A call under way, all asked."""
        task = asyncio.create_task(
            self.roll.call(members, lambda member, n: self.numbers.update({member: n}), bound)
        )
        await asyncio.sleep(0)
        return task


async def test_it_ends_with_the_last_answer() -> None:
    """Not before; a second answer of the same member counts for nobody else."""
    asked = Asked()
    task = await asked.begin("a", "b")
    number = asked.numbers["a"]
    assert asked.numbers == {"a": number, "b": number}
    for _ in range(2):
        asked.roll.answered("a", number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    asked.roll.answered("b", number)
    assert await task == frozenset()


async def test_nobody_asked_is_nobody_awaited() -> None:
    """A server whose gateways are all being restarted goes on."""
    assert await (await Asked().begin()) == frozenset()


async def test_who_is_gone_is_not_awaited() -> None:
    """In any of the calls under way."""
    asked = Asked()
    first, second = await asked.begin("a"), await asked.begin("a", "b")
    asked.roll.gone("a")
    assert await first == frozenset()
    await asyncio.sleep(0)
    assert not second.done()
    asked.roll.answered("b", asked.numbers["b"])
    assert await second == frozenset()


async def test_answers_belong_to_their_question() -> None:
    """One to an earlier question, late, ends no later one."""
    asked = Asked()
    late = await asked.begin("a", "b", bound=0.0)
    assert await late == {"a", "b"}
    old = asked.numbers["a"]
    task = await asked.begin("a")
    asked.roll.answered("a", old)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    asked.roll.answered("a", asked.numbers["a"])
    assert await task == frozenset()


async def test_who_is_late_is_named() -> None:
    """Those who answered in time are not."""
    asked = Asked()
    task = await asked.begin("a", "b", bound=0.05)
    asked.roll.answered("a", asked.numbers["a"])
    assert await task == {"b"}
