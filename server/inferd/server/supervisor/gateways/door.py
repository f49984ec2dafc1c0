"""One gateway process as the supervisor sees it: started, restarted, spoken to, drained."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from inferd.core.clock import Clock, SystemClock
from inferd.core.link.messages import (
    DrainGateway,
    FromGateway,
    ListenFailed,
    Listening,
    OpenDoor,
    StartGateway,
    ToGateway,
)
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.replicas.process import ChildProcess, Exit
from inferd.server.supervisor.replicas.restart import History, RestartPolicy, after_death

ADVICE = "name another address with --grpc HOST:PORT, port 0 for any free one"
HTTP_ADVICE = (
    "name another address for HTTP with --http HOST:PORT, port 0 for any free one, or --http off"
)
"""What an operator can do about an address that cannot be had."""

LISTEN_TIMEOUT = 30.0
"""Seconds in which a new gateway must listen."""

DRAIN_MARGIN = 5.0
"""Seconds that a draining gateway gets beyond its grace before it is killed."""

_log = get_logger(__name__)


class ListenError(RuntimeError):
    """The gateway cannot listen at the address; the message says why."""


class GatewayEvents(Protocol):
    """Who hears of a gateway."""

    def gateway_up(self, gateway: Door) -> None:
        """One that knows nothing yet listens; it accepts calls once this returns."""

    def gateway_down(self, gateway: Door) -> None:
        """It is gone, with every request it held."""

    def gateway_said(self, gateway: Door, message: FromGateway) -> None:
        """It sent something else than how its listening went."""


class DoorEvents(GatewayEvents, Protocol):
    """And who counts its deaths."""

    def gateway_lost(self, gateway: Door) -> None:
        """Its process is gone unasked; another one will be started."""


class Door:
    """Keeps one gateway alive at one address."""

    def __init__(
        self,
        name: str,
        start: StartGateway,
        command: Sequence[str],
        events: DoorEvents,
        *,
        policy: RestartPolicy | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`command` starts a gateway; `start` is what it is told first; logs call it `name`."""
        self.name = name
        self.address = start.address
        self.http = start.http
        self._start = start
        self._command = command
        self._events = events
        self._policy = policy or RestartPolicy()
        self._clock = clock or SystemClock()
        self._chance = chance
        self._process: ChildProcess[ToGateway, FromGateway] | None = None
        self._opened: asyncio.Future[str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._history = History()
        self._up_since: float | None = None
        self._closing = False

    @property
    def up(self) -> bool:
        """Whether a gateway listens."""
        return self._up_since is not None

    @property
    def pid(self) -> int | None:
        """The gateway's process, if there is one."""
        return self._process.pid if self._process is not None else None

    async def open(self) -> str:
        """Start the first gateway; the address it listens at. Raises `ListenError`."""
        self._opened = asyncio.get_running_loop().create_future()
        self._spawn()
        try:
            return await self._opened
        finally:
            self._opened = None

    def send(self, message: ToGateway, fds: Sequence[int] = ()) -> None:
        """Tell the gateway; lost if there is none, as the next one is told everything anew."""
        if self._process is not None and self.up:
            self._process.send(message, fds)

    def answer(self) -> Callable[[ToGateway], None]:
        """Sends to the process that lives now; lost when it has died, whoever came after it.

        Numbers of questions begin anew with every process: another one's answer would be taken
        for its own.
        """
        return self._process.send if self._process is not None else _lose

    def replace(self) -> None:
        """End a gateway that does not follow any more; another one takes its place."""
        if self._process is not None:
            self._process.kill()

    async def drain(self, grace: float) -> None:
        """Have the gateway answer what it holds within `grace` seconds and end; reaped after."""
        self._closing = True
        self._set_timer(None)
        if self._process is None:
            return
        if self.up:
            self._process.send(DrainGateway(grace))
            await self._process.wait_or_kill(grace + DRAIN_MARGIN)
        else:
            await self._process.wait_or_kill(0)

    def kill(self) -> None:
        """End the gateway at once and for good."""
        self._closing = True
        self._set_timer(None)
        if self._process is not None:
            self._process.kill()

    async def reaped(self) -> None:
        """Wait until there is no gateway process."""
        if self._process is not None:
            await asyncio.shield(self._process.exit)

    def _spawn(self) -> None:
        try:
            self._process = ChildProcess.spawn(
                self._command, FromGateway, on_message=self._said, on_exit=self._died
            )
        except OSError as error:
            self._after_death(f"it could not be started: {error.strerror}")
            return
        self._process.send(
            msgspec.structs.replace(self._start, address=self.address, http=self.http)
        )
        self._set_timer(LISTEN_TIMEOUT, self._process.kill)

    def _said(self, message: FromGateway) -> None:
        match message:
            case Listening(address, http):
                self._set_timer(None)
                # Ports that the system chose are kept when the gateway is started again.
                self.address, self.http = address, http
                self._up_since = self._clock.monotonic()
                _log.info(
                    "gateway listens", name=self.name, address=address, http=http, gateway=self.pid
                )
                if self._opened is not None and not self._opened.done():
                    self._opened.set_result(address)
                self._introduce()
            case ListenFailed(reason, over_http):
                if self._opened is None:
                    _log.error(
                        "gateway cannot listen", name=self.name, address=self.address, reason=reason
                    )
                elif not self._opened.done():
                    advice = HTTP_ADVICE if over_http else ADVICE
                    self._opened.set_exception(ListenError(f"{reason}; {advice}"))
            case _:
                self._events.gateway_said(self, message)

    def _introduce(self) -> None:
        try:
            self._events.gateway_up(self)
        except Exception as error:  # whatever it was: half told, it must not accept calls
            _log.error(
                "gateway could not be told what is served and is replaced",
                name=self.name,
                error=f"{type(error).__name__}: {error}",
            )
            self.replace()
            return
        # Only now: a call before would hear of models that are not there.
        self.send(OpenDoor())

    def _died(self, ended: Exit) -> None:
        self._process = None
        self._set_timer(None)
        was_up = self.up
        lived = 0.0 if self._up_since is None else self._clock.monotonic() - self._up_since
        self._up_since = None
        if was_up:
            self._events.gateway_down(self)
        if not self._closing or self._opened is not None:
            self._after_death(str(ended), lived)

    def _after_death(self, how: str, lived: float = 0.0) -> None:
        if self._opened is not None:
            if not self._opened.done():
                error = ListenError(f"it ended before it could listen: {how}")
                self._opened.set_exception(error)
            return
        self._history, restart = after_death(
            self._history,
            now=self._clock.monotonic(),
            lived=lived,
            chance=self._chance(),
            policy=self._policy,
        )
        self._events.gateway_lost(self)
        _log.error("gateway lost", name=self.name, how=how, restart_in=round(restart.delay, 3))
        self._set_timer(restart.delay, self._spawn)

    def _set_timer(self, delay: float | None, call: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and call is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, call)


def _lose(message: ToGateway) -> None:
    """What becomes of an answer to nobody."""
