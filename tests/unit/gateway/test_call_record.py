"""A call on the completion queue is counted before its end can be heard of."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from inferd.server.gateway.rpc.completion_queue.core import cygrpc
from inferd.server.gateway.rpc.completion_queue.stream import QueuedStreamCall
from inferd.server.gateway.rpc.completion_queue.unary import QueuedUnaryCall
from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import QueueFull

CallOfEither = QueuedUnaryCall | QueuedStreamCall


class Core:
    """In the place of the C core: notes what was counted when a status went out."""

    def __init__(self) -> None:
        self.record = CallRecord()
        self.found: list[list[tuple[str, int]]] = []

    def start_server_batch(self, operations: tuple[Any, ...], tag: object) -> None:
        """An operation of the call."""
        if any(isinstance(each, cygrpc.SendStatusFromServerOperation) for each in operations):
            counted = self.record.counts("/a/B")
            self.found.append([(each.code, each.spent.count) for each in counted])


def unary(core: Core) -> QueuedUnaryCall:
    """A call with one answer."""
    return QueuedUnaryCall(_event(core), "/a/B", lambda _: None, core.record)


def stream(core: Core) -> QueuedStreamCall:
    """A call with many."""
    return QueuedStreamCall(_event(core), "/a/B", core.record)


def _event(core: Core) -> SimpleNamespace:
    return SimpleNamespace(
        invocation_metadata=(), call_details=SimpleNamespace(deadline=9e9), call=core
    )


@pytest.mark.parametrize("made", [unary, stream])
def test_an_error_is_counted_before_it_is_told(made: Callable[[Core], CallOfEither]) -> None:
    """By its code, once: a caller that has it may look at the figures next."""
    core = Core()
    made(core).fail(QueueFull("full"))
    assert core.found == [[("RESOURCE_EXHAUSTED", 1)]]


@pytest.mark.parametrize("watched", [False, True])
def test_an_answer_is_counted_before_it_goes_out(*, watched: bool) -> None:
    """Whether its caller is asked after or not."""
    core = Core()
    call = unary(core)
    if watched:
        call.watch(lambda: None)
    call.reply(b"answer")
    assert core.found == [[("OK", 1)]]


def test_the_end_of_a_stream_is_counted_before_it_goes_out() -> None:
    """Once, however often it is ended."""
    core = Core()
    call = stream(core)
    call.finish()
    call.finish()
    call.fail(QueueFull("full"))
    assert core.found == [[("OK", 1)]]
