"""One thing at a time per name."""

from __future__ import annotations

import asyncio

from inferd.server.supervisor.turns import Turns


async def test_one_name_one_at_a_time_in_order() -> None:
    """Those of one name follow each other; those of another do not wait for them."""
    turns = Turns()
    seen: list[str] = []

    async def act(name: str, label: str) -> None:
        async with turns.turn(name):
            seen.append(f"{label} begins")
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append(f"{label} ends")

    async with asyncio.TaskGroup() as group:
        for label in ("a1", "a2", "b1"):
            group.create_task(act(label[0], label))
    in_a = [each for each in seen if each.startswith("a")]
    assert in_a == ["a1 begins", "a1 ends", "a2 begins", "a2 ends"]
    assert seen.index("b1 begins") < seen.index("a1 ends")


async def test_nothing_is_kept_of_names_that_are_not_in_use() -> None:
    """Also not of turns that were given up."""
    turns = Turns()
    async with turns.turn("a"):
        waiting = asyncio.create_task(turns.turn("a").__aenter__())
        await asyncio.sleep(0)
        assert len(turns) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(turns) == 0
