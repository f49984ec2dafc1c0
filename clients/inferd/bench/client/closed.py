"""A closed loop on one connection: each caller sends when it has its answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from inferd.bench.client.record import Record
from inferd.bench.client.transport import CANCELLED, Transport, TransportClosed

GIVE_UP_AFTER = 1000
"""Failures without a single answer after which the load ends: nothing is to be measured."""


def run_closed(
    transport: Transport,
    record: Record,
    *,
    callers: int,
    end: float,
    stop: Event,
    clock: Callable[[], float],
) -> None:
    """Keep `callers` requests in flight until `end` or `stop`, and take all their answers."""
    in_flight = 0
    try:
        for _ in range(callers):
            transport.send(clock())
            in_flight += 1
    except TransportClosed:
        pass
    while in_flight:
        answer = transport.take()
        now = clock()
        if answer.code == CANCELLED and stop.is_set():
            record.cut_off(answer.tag, now)
        else:
            record.add(answer.tag, now, answer.code, answer.text)
        if now >= end or stop.is_set() or _hopeless(record):
            in_flight -= 1
            continue
        try:
            transport.send(now)
        except TransportClosed:
            in_flight -= 1


def _hopeless(record: Record) -> bool:
    return record.failed >= GIVE_UP_AFTER and not record.answered
