"""The life of one worker, decided without touching a process: events and time in, actions out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from inferd.server.supervisor.incidents import Cause
from inferd.server.supervisor.replicas.restart import History, RestartPolicy, after_death

STOP_BOUND = 5.0
"""Seconds in which a worker that was told to stop must have ended."""


class Phase(Enum):
    """Where a worker is on its way."""

    NEW = "new"
    LOADING = "loading"
    LOADED = "loaded"  # warm, but not reached by the gateways
    ATTACHED = "attached"
    WAITING = "waiting"  # dead, to be started again
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # never loaded; nobody tries again


# --- events ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start it for the first time."""


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The worker says that its model is loaded and warm."""


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """The worker, or whoever looked at what it loaded, says that this cannot be served."""

    reason: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Every gateway that was there when it had loaded reaches it."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The last gateway that reached it is gone."""


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A gateway has closed the link to it."""


@dataclass(frozen=True, slots=True)
class Died:
    """The process ended, `how` for people and `cause` for those who count."""

    how: str
    cause: Cause = "exit"


@dataclass(frozen=True, slots=True)
class Alarm:
    """The time of the last `WakeAt` has come."""


@dataclass(frozen=True, slots=True)
class Stop:
    """It is not needed any more."""


Event = Begin | ModelLoaded | ModelRefused | LinkUp | LinkDown | LinkLost | Died | Alarm | Stop

# --- actions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process and have it load the model."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process now."""


@dataclass(frozen=True, slots=True)
class AskToStop:
    """Have the process finish its batch and end."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Raise an `Alarm` at this time, and at no other; None for never."""

    at: float | None


Action = Spawn | Kill | AskToStop | WakeAt


class Instance:
    """One worker through all its deaths.

    `reason` says why it does not serve, if it does not, and `cause` what it was lost by the last time.
    """

    def __init__(self, *, load_timeout: float, policy: RestartPolicy) -> None:
        """`load_timeout` is in seconds."""
        self.phase = Phase.NEW
        self.reason = ""
        self.cause: Cause = "exit"
        self.crash_looping = False
        self._load_timeout = load_timeout
        self._policy = policy
        self._history = History()
        self._served = False
        self._since = 0.0
        self._refusal: str | None = None
        self._why = ""
        self._late = False

    def handle(self, event: Event, *, now: float, chance: float = 0.0) -> list[Action]:
        """What to do about an event at `now`; `chance`, from 0 to 1, spreads restarts."""
        match event:
            case Begin() if self.phase is Phase.NEW:
                return self._start(now)
            case ModelLoaded() if self.phase is Phase.LOADING:
                self.phase, self.reason = Phase.LOADED, ""
                self._served, self._since = True, now
                return [WakeAt(None)]
            case ModelRefused(reason) if self.phase is Phase.LOADING:
                self._refusal = reason
                # It ends by itself; should it not, it is made to.
                return [WakeAt(now + STOP_BOUND)]
            case LinkUp() if self.phase is Phase.LOADED:
                self.phase = Phase.ATTACHED
            case LinkDown() if self.phase is Phase.ATTACHED:
                self.phase = Phase.LOADED
            case LinkLost() if self.phase in {Phase.LOADED, Phase.ATTACHED}:
                # Dead already, most likely; if not, nothing can reach it any more.
                return [Kill()]
            case Died(how, cause):
                self.cause = "timeout" if self._late else cause
                return self._died(how, now, chance)
            case Alarm():
                return self._alarm(now)
            case Stop():
                return self._stop(now)
        return []

    def _start(self, now: float) -> list[Action]:
        self.phase, self._refusal, self._late = Phase.LOADING, None, False
        if self._served:
            self.reason = f"{self._why}, loading again"
        return [Spawn(), WakeAt(now + self._load_timeout)]

    def _died(self, how: str, now: float, chance: float) -> list[Action]:
        if self.phase is Phase.STOPPING:
            self.phase = Phase.STOPPED
            return [WakeAt(None)]
        if self.phase in {Phase.STOPPED, Phase.FAILED, Phase.NEW, Phase.WAITING}:
            return []
        loading = self.phase is Phase.LOADING
        why = self._refusal or (
            f"worker died while loading ({how})" if loading else f"worker died ({how})"
        )
        if not self._served:
            self.phase, self.reason = Phase.FAILED, why
            return [WakeAt(None)]
        lived = 0.0 if loading else now - self._since
        self._history, restart = after_death(
            self._history, now=now, lived=lived, chance=chance, policy=self._policy
        )
        self.phase, self.crash_looping = Phase.WAITING, restart.crash_looping
        loop = "crash-looping: " if restart.crash_looping else ""
        self._why = f"{loop}{why}"
        self.reason = f"{self._why}, restarting in {restart.delay:.1f} s"
        return [WakeAt(restart.at)]

    def _alarm(self, now: float) -> list[Action]:
        if self.phase is Phase.WAITING:
            return self._start(now)
        if self.phase is Phase.LOADING:
            if self._refusal is None:
                self._late = True
                self._refusal = f"loading took longer than {self._load_timeout:g} s"
            return [Kill(), WakeAt(None)]
        if self.phase is Phase.STOPPING:
            return [Kill(), WakeAt(None)]
        return []

    def _stop(self, now: float) -> list[Action]:
        if self.phase is Phase.LOADING:
            self.phase = Phase.STOPPING
            return [Kill(), WakeAt(None)]
        if self.phase in {Phase.LOADED, Phase.ATTACHED}:
            self.phase = Phase.STOPPING
            return [AskToStop(), WakeAt(now + STOP_BOUND)]
        if self.phase is not Phase.STOPPING:
            self.phase = Phase.STOPPED
            return [WakeAt(None)]
        return []
