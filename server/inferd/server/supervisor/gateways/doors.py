"""All gateways of a server: opened at one address, told the same, asked together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

import msgspec

from inferd.core.address import Address
from inferd.core.clock import Clock
from inferd.core.link.messages import (
    AskCounts,
    CountsReport,
    FromGateway,
    OtherCounts,
    ReportCounts,
    Settle,
    Settled,
    StartGateway,
    StateReport,
    ToGateway,
    VersionMemory,
)
from inferd.core.telemetry.counts import Counts
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.gateways.census import Census
from inferd.server.supervisor.gateways.door import (
    ADVICE,
    HTTP_ADVICE,
    Door,
    GatewayEvents,
    ListenError,
)
from inferd.server.supervisor.gateways.port import is_free
from inferd.server.supervisor.gateways.roll_call import RollCall
from inferd.server.supervisor.gateways.rounds import Rounds
from inferd.server.supervisor.incidents import Incidents
from inferd.server.supervisor.replicas.restart import RestartPolicy

FOLLOW_BOUND = 30.0
"""Seconds in which a gateway follows what it is told; one that does not hangs, and is replaced."""

COUNTS_BOUND = 1.0
"""Seconds in which a gateway reports its counts; afterwards its last report has to do."""

MEMORY_PART = 512
"""Versions whose memory goes into one message."""

_log = get_logger(__name__)


class Doors:
    """Keeps gateways alive that share one address, each by itself, and speaks to all of them."""

    def __init__(
        self,
        start: StartGateway,
        command: Sequence[str],
        events: GatewayEvents,
        *,
        number: int = 1,
        policy: RestartPolicy | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        incidents: Incidents | None = None,
        memory: Callable[[], Awaitable[Sequence[VersionMemory]]] | None = None,
    ) -> None:
        """`command` starts one gateway, `number` how many there are to be.

        `memory` finds out what versions take, in about as much time as counts may.
        """
        several = number > 1
        start = msgspec.structs.replace(start, share_port=several)
        names = [f"gateway-{each}" for each in range(1, number + 1)] if several else ["gateway"]
        self._shared = several
        self._events = events
        self._doors = tuple(
            Door(
                name,
                start,
                [*command, "--name", name] if several else command,
                self,
                policy=policy,
                clock=clock,
                chance=chance,
            )
            for name in names
        )
        self._roll = RollCall[Door]()
        self._incidents = incidents or Incidents()
        for name in names:
            self._incidents.gateway_expected(name)
        self.census = Census()
        """What they told the last time that they were asked."""
        self._memory = memory
        self._reports = Rounds[Door](self._have_report)
        self._asking: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Door]:
        return iter(self._doors)

    def __len__(self) -> int:
        """How many there are to be."""
        return len(self._doors)

    @property
    def up(self) -> tuple[Door, ...]:
        """Those that listen."""
        return tuple(door for door in self._doors if door.up)

    @property
    def http(self) -> str | None:
        """The address at which they listen for HTTP once they are open; None if they do not."""
        return self._doors[0].http

    async def open(self) -> str:
        """Start the first gateways; the address they listen at. Raises `ListenError`."""
        first, *others = self._doors
        for wanted, advice in ((first.address, ADVICE), (first.http, HTTP_ADVICE)):
            if self._shared and wanted and not await is_free(Address.parse(wanted)):
                raise ListenError(f"cannot listen on {wanted}: the port is taken; {advice}")
        address = await first.open()
        for door in others:
            # Their ports may have been the system's choice.
            door.address, door.http = address, first.http
        await asyncio.gather(*(door.open() for door in others))
        return address

    def send(self, message: ToGateway) -> None:
        """Tell every gateway; those to come are told everything anew."""
        for door in self.up:
            door.send(message)

    async def settled(self) -> None:
        """Wait until every gateway has done what it was told so far, or is gone."""
        late = await self._roll.call(
            self.up, lambda door, number: door.send(Settle(number)), FOLLOW_BOUND
        )
        for door in late:
            _log.error("gateway hangs and is replaced", name=door.name, seconds=FOLLOW_BOUND)
            door.replace()

    async def counts(self, without: Door | None = None) -> Counts:
        """What all gateways have counted since the server started, but for `without`.

        Exact, up to what gateways had counted and not reported when they died.
        """
        await self._reports.join(door for door in self.up if door is not without)
        return self.census.total(without)

    async def drain(self, grace: float) -> None:
        """Have all answer what they hold within `grace` seconds and end; reaped after."""
        await asyncio.gather(*(door.drain(grace) for door in self._doors))

    def kill(self) -> None:
        """End all of them at once and for good."""
        for door in self._doors:
            door.kill()

    async def reaped(self) -> None:
        """Wait until there is no gateway process."""
        for door in self._doors:
            await door.reaped()

    # --- what a gateway says ---------------------------------------------------------------------

    def gateway_up(self, gateway: Door) -> None:
        """One that knows nothing yet listens."""
        self._events.gateway_up(gateway)

    def gateway_down(self, gateway: Door) -> None:
        """One is gone: nobody waits for its answers any more, and its counts are kept."""
        self.census.left(gateway)
        self._roll.gone(gateway)
        self._events.gateway_down(gateway)

    def gateway_lost(self, gateway: Door) -> None:
        """One ended unasked."""
        self._incidents.gateway_restarted(gateway.name)

    def gateway_said(self, gateway: Door, message: FromGateway) -> None:
        """One sent a message."""
        match message:
            case Settled(number):
                self._roll.answered(gateway, number)
            case CountsReport(counts):
                self.census.reported(gateway, counts)
            case StateReport():
                self.census.fares(gateway, message)
            case AskCounts(ask):
                self._start(self._tell_counts(gateway, gateway.answer(), ask))
            case _:
                self._events.gateway_said(gateway, message)

    async def _have_report(self, doors: frozenset[Door]) -> None:
        # One that has died since is asked nothing: what its successor counts came later.
        asked = [door for door in self.up if door in doors]
        for door in await self._roll.call(asked, _ask_to_report, COUNTS_BOUND):
            _log.warning("gateway does not report its counts; its last ones stand", name=door.name)
            self._incidents.unanswered(door.name)

    async def _tell_counts(
        self, gateway: Door, answer: Callable[[ToGateway], None], ask: int
    ) -> None:
        counts, memory = await asyncio.gather(self.counts(without=gateway), self._memory_taken())
        *parts, end = *counts.parts(), ()
        for part in parts:
            answer(OtherCounts(ask, part, last=False))
        while len(memory) > MEMORY_PART:
            answer(OtherCounts(ask, (), last=False, memory=memory[:MEMORY_PART]))
            memory = memory[MEMORY_PART:]
        answer(OtherCounts(ask, end, last=True, memory=memory))

    async def _memory_taken(self) -> tuple[VersionMemory, ...]:
        if self._memory is None:
            return ()
        try:
            return tuple(await self._memory())
        except Exception:  # whatever it was: whoever asks is owed the counts
            _log.exception("the memory of models cannot be told")
            return ()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)


def _ask_to_report(door: Door, number: int) -> None:
    door.send(ReportCounts())
    door.send(Settle(number))
