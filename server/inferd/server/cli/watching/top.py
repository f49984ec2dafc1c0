"""`inferd top`: a running server, live."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from inferd.core.telemetry.logs import escape
from inferd.core.telemetry.status import Status
from inferd.server.cli.output import MISUSED, complain
from inferd.server.cli.watching.asking import DEFAULT, UNREACHABLE, Source, Unreachable
from inferd.server.cli.watching.between import Poller
from inferd.server.cli.watching.keys import Keys
from inferd.server.cli.watching.view import Order, picture

_LEAST_INTERVAL = 0.1

_HEADINGS = 4
"""Lines of the tables of models that are no model's."""

_ORDERS: tuple[Order, ...] = ("rate", "p99", "queue", "cpu", "name")

Polled = Status | Unreachable
"""What a poll gave."""


def top(
    *,
    ops: Annotated[str, Parameter(metavar="HOST:PORT")] = DEFAULT,
    interval: float = 2.0,
    count: Annotated[int | None, Parameter(show_default=False)] = None,
    timeout: float = 5.0,
) -> int:
    """Watch a running server: what `inferd status` shows, over the last interval, busiest model first.

    For example

    - inferd top
    - inferd top --ops localhost:9002 --interval 5
    - inferd top --count 3 > figures.txt

    Keys: q quits, s sorts by the next of rate, p99, queue, CPU and name. A server that is restarted is
    waited for. Where the output is no terminal, every interval prints the tables anew; the first ones
    are over the server's last minute.

    Args:
        ops: The server's operations port.
        interval: Seconds between two looks.
        count: Looks after which it ends; without it, it goes on until q or Ctrl-C.
        timeout: Seconds that the server gets for each answer.
    """
    try:
        source = Source.parse(ops, timeout)
        _check(interval, count)
    except ValueError as error:
        return complain("top", str(error), MISUSED)
    poller = Poller(source.ask)
    try:
        first = poller.poll()
    except Unreachable as error:  # most likely an address that was mistyped
        return complain("top", str(error), UNREACHABLE)
    watch = _Watch(poller, first, interval, count)
    console = Console(file=sys.stdout, highlight=False)
    # Not what rich takes for a terminal: variables may force that.
    if sys.stdout.isatty() and not console.is_dumb_terminal:
        return watch.live(console)
    return watch.plain(console)


class _Watch:
    def __init__(self, poller: Poller, first: Status, interval: float, count: int | None) -> None:
        self._poller = poller
        self._first = first
        self._interval = interval
        self._count = count
        self._order = 0

    def live(self, console: Console) -> int:
        """On a terminal, in place; the exit code."""
        # The alternate screen ends first: what follows it is the terminal as it was.
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            for polled, due in self._polls():
                live.update(self._frame(polled, console), refresh=True)
                for key in keys.until(due):
                    if key in "qQ":
                        return 0
                    if key in "sS":
                        self._order = (self._order + 1) % len(_ORDERS)
                        live.update(self._frame(polled, console), refresh=True)
        return _code(polled)

    def plain(self, console: Console) -> int:
        """Elsewhere, one picture after the other; the exit code."""
        for polled, due in self._polls():
            console.print(Text(time.strftime("%H:%M:%S"), style="dim"))
            if isinstance(polled, Unreachable):
                console.print(_trying(polled), soft_wrap=True)
            else:
                console.print(picture(polled, console.width, order=_ORDERS[self._order]))
            console.print()
            sys.stdout.flush()
            time.sleep(max(0.0, due - time.monotonic()))
        return _code(polled)

    def _polls(self) -> Iterator[tuple[Polled, float]]:
        """What each poll gave, and when the next one is due; now, after the last one."""
        polled: Polled = self._first
        due = time.monotonic()
        for number in range(1, sys.maxsize if self._count is None else self._count + 1):
            if number > 1:
                polled = self._poll()
            # Looks that a slow answer took the time of are left out.
            due = max(due + self._interval, time.monotonic())
            yield polled, 0.0 if number == self._count else due

    def _poll(self) -> Polled:
        try:
            return self._poller.poll()
        except Unreachable as error:
            return error

    def _frame(self, polled: Polled, console: Console) -> RenderableType:
        if isinstance(polled, Unreachable):
            return Group(_trying(polled), "", Text("q quits", style="dim"))
        width, height = console.size
        bare = console.render_lines(picture(polled, width, most=0))
        # Each model has a line in each of two tables, which have headings; one line tells the keys.
        most = max(1, (height - len(bare) - _HEADINGS - 1) // 2)
        order = _ORDERS[self._order]
        keys = Text(f"sorted by {order}; s: by {self._next()}, q: quit", style="dim")
        return Group(picture(polled, width, order=order, most=most), keys)

    def _next(self) -> str:
        return _ORDERS[(self._order + 1) % len(_ORDERS)]


def _check(interval: float, count: int | None) -> None:
    if not interval >= _LEAST_INTERVAL:
        raise ValueError(f"--interval {interval:g}: expected {_LEAST_INTERVAL:g} seconds or more")
    if count is not None and count < 1:
        raise ValueError(f"--count {count}: expected 1 or more")


def _trying(error: Unreachable) -> Text:
    return Text(escape(f"not reachable, trying again: {error}").replace("\n", " "), style="red")


def _code(polled: Polled) -> int:
    return UNREACHABLE if isinstance(polled, Unreachable) else os.EX_OK
