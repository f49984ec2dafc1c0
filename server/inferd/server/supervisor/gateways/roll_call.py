"""A question to several gateways at once, answered when each has answered or is gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Member = TypeVar("Member")


class RollCall(Generic[Member]):
    """Numbers the questions, and knows who still owes an answer to which."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call[Member]] = {}

    async def call(
        self, members: Collection[Member], ask: Callable[[Member, int], None], bound: float
    ) -> frozenset[Member]:
        """Have `ask` put the question to each member, with its number, and wait for the answers.

        Returns those who live and have not answered within `bound` seconds.
        """
        number = next(self._numbers)
        call = self._calls[number] = _Call(set(members))
        try:
            for member in members:
                ask(member, number)
            async with asyncio.timeout(bound):
                while call.waiting:
                    call.news.clear()
                    await call.news.wait()
        except TimeoutError:
            pass
        finally:
            del self._calls[number]
        return frozenset(call.waiting)

    def answered(self, member: Member, number: int) -> None:
        """A member has answered. An answer that nobody waits for any more is of no consequence."""
        if (call := self._calls.get(number)) is not None:
            call.forget(member)

    def gone(self, member: Member) -> None:
        """A member will not answer anything any more."""
        for call in self._calls.values():
            call.forget(member)


@dataclass
class _Call(Generic[Member]):
    waiting: set[Member]
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self, member: Member) -> None:
        self.waiting.discard(member)
        self.news.set()
