"""Rounds of questions to gateways, shared by all who wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Member = TypeVar("Member")


class Rounds(Generic[Member]):
    """One round at a time; whoever comes while one is under way shares the next one.

    Never the one under way: a member may have answered it before the caller's own past.
    """

    def __init__(self, make: Callable[[frozenset[Member]], Awaitable[None]]) -> None:
        """`make` asks these members and returns when they have answered."""
        self._make = make
        self._turn = asyncio.Lock()
        self._next: _Round[Member] | None = None

    async def join(self, members: Iterable[Member]) -> None:
        """Wait for a round that begins after this call and asks these members, among others."""
        if self._next is None:
            self._next = _Round()
        joined = self._next
        joined.members.update(members)
        async with self._turn:
            if joined.done:  # by another one that waited for it
                return
            if self._next is joined:
                self._next = None
            await self._make(frozenset(joined.members))
            joined.done = True


@dataclass(slots=True)
class _Round(Generic[Member]):
    members: set[Member] = field(default_factory=set)
    done: bool = False
