"""From other threads to the loop's: in order, in one go, and never after the end."""

from __future__ import annotations

import asyncio
from typing import Any

from inferd.server.gateway.rpc.aio.handover import Handover


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often another thread woke it."""

    wakes = 0

    def call_soon_threadsafe(self, *arguments: Any, **more: Any) -> asyncio.Handle:  # type: ignore[override]  # as given
        """As it was, and counted."""
        self.wakes += 1
        return super().call_soon_threadsafe(*arguments, **more)


def test_a_burst_costs_one_wake_up() -> None:
    """And is done in the order in which it was posted."""
    loop, done = CountingLoop(), list[int]()
    handover = Handover(loop)
    for burst in range(2):
        for each in range(5):
            handover.post(done.append, 5 * burst + each)
        assert len(done) == 5 * burst
        loop.run_until_complete(asyncio.sleep(0))
    assert done == list(range(10))
    assert loop.wakes == 2
    loop.close()


def test_on_the_loops_own_thread_it_is_done_at_once() -> None:
    """Without a wake-up."""
    loop, done = CountingLoop(), list[int]()
    handover = Handover(loop)
    handover.settle()
    handover.post(done.append, 1)
    assert (done, loop.wakes) == ([1], 0)
    loop.close()


def test_what_is_deferred_is_done_after_the_caller_has_gone_on() -> None:
    """On the loop's own thread, too: the caller may hold a lock that it takes."""
    loop, done = CountingLoop(), list[int]()
    handover = Handover(loop)
    handover.settle()
    handover.defer(done.append, 1)
    assert not done
    loop.run_until_complete(asyncio.sleep(0))
    assert done == [1]
    loop.close()


def test_after_the_end_nothing_is_done() -> None:
    """Late answers of calls that are over must not touch a loop that is closed."""
    loop, done = CountingLoop(), list[int]()
    handover = Handover(loop)
    handover.close()
    loop.close()
    handover.post(done.append, 1)
    assert done == []
