"""One worker of a deployment: performs what its `Instance` decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inferd.core.clock import Clock, SystemClock
from inferd.core.link.messages import (
    FromWorker,
    Loaded,
    LoadingFailed,
    LoadModel,
    MemoryReport,
    ModelSource,
    OpenLink,
    Pinning,
    StopWorker,
    ToWorker,
)
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.incidents import Incidents
from inferd.server.supervisor.replicas import instance as life
from inferd.server.supervisor.replicas.instance import Instance, Phase
from inferd.server.supervisor.replicas.process import ChildProcess, Exit
from inferd.server.supervisor.replicas.restart import RestartPolicy

_log = get_logger(__name__)
_printed = get_logger("inferd.output")


@dataclass(frozen=True, slots=True)
class WorkerTerms:
    """How workers are run: the command that starts one, times in seconds, where time is from, and who
    is told what befalls them.
    """

    command: Sequence[str]
    load_timeout: float
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    clock: Clock = field(default_factory=SystemClock)
    chance: Callable[[], float] = random.random
    incidents: Incidents = field(default_factory=Incidents)


class Replica:
    """A worker process that is kept alive.

    `on_change` is called after everything that happens to it. `accepts` judges what it loaded:
    a reason to refuse it, or None. `index` tells it from the other workers of its deployment.
    """

    def __init__(
        self,
        source: ModelSource,
        pinning: Pinning,
        terms: WorkerTerms,
        *,
        accepts: Callable[[Loaded], str | None],
        on_change: Callable[[Replica], None],
        index: int = 0,
    ) -> None:
        self.pinning = pinning
        self.index = index
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it has loaded for the first time, or failed to."""
        self.stopped = asyncio.Event()
        self.memory: MemoryReport | None = None
        """What torch holds of its GPU, as its process last said; always None on a CPU."""
        self._source = source
        self._terms = terms
        self._accepts = accepts
        self._on_change = on_change
        self._life = Instance(load_timeout=terms.load_timeout, policy=terms.policy)
        self._process: ChildProcess[ToWorker, FromWorker] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._log = _log.bind(model=source.name, version=source.version, device=pinning.device)
        self._printed = _printed.bind(
            dataset="inferd.output", model=source.name, version=source.version
        )

    @property
    def phase(self) -> Phase:
        """Where it is on its way."""
        return self._life.phase

    @property
    def reason(self) -> str:
        """Why it does not serve, if it does not."""
        return self._life.reason

    @property
    def pid(self) -> int | None:
        """Its process, if there is one."""
        return self._process.pid if self._process is not None else None

    def begin(self) -> None:
        """Start it."""
        self._handle(life.Begin())

    def link_up(self) -> None:
        """The gateways reach it."""
        self._handle(life.LinkUp())

    def link_down(self) -> None:
        """No gateway reaches it any more."""
        self._handle(life.LinkDown())

    def link_lost(self) -> None:
        """A gateway has given it up."""
        self._handle(life.LinkLost())

    def open_link(self, fd: int) -> None:
        """Hand it its end of a link to a gateway; `fd` stays the caller's."""
        if self._process is not None:
            self._process.send(OpenLink(), [fd])

    def stop(self) -> None:
        """Let it finish its batch and end; `stopped` tells when it has."""
        self._handle(life.Stop())

    def kill(self) -> None:
        """End it at once and for good."""
        self._handle(life.Stop())
        if self._process is not None:
            self._process.kill()

    def _handle(self, event: life.Event) -> None:
        before = self.phase
        now, chance = self._terms.clock.monotonic(), self._terms.chance()
        for action in self._life.handle(event, now=now, chance=chance):
            self._perform(action)
        incidents, name, version = self._terms.incidents, self._source.name, self._source.version
        if self.phase is Phase.WAITING and before is not Phase.WAITING:
            self._log.warning("worker lost", reason=self.reason)
            incidents.worker_restarted(name, version, self._life.cause)
        if self.phase is Phase.FAILED and before is not Phase.FAILED:
            incidents.load_failed(name, version)
        if not self.settled.done() and self.phase not in {Phase.NEW, Phase.LOADING}:
            self.settled.set_result(None)
        if self.phase is Phase.STOPPED:
            self.stopped.set()
        if self.phase is not before:
            self._on_change(self)

    def _perform(self, action: life.Action) -> None:
        match action:
            case life.Spawn():
                self._spawn()
            case life.Kill():
                if self._process is not None:
                    self._process.kill()
            case life.AskToStop():
                if self._process is not None:
                    self._process.send(StopWorker())
            case life.WakeAt(at):
                self._wake_at(at)

    def _wake_at(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            delay = max(0.0, at - self._terms.clock.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._handle, life.Alarm())

    def _spawn(self) -> None:
        try:
            self._process = ChildProcess.spawn(
                self._terms.command,
                FromWorker,
                on_message=self._said,
                on_exit=self._died,
                printed=self._printed,
            )
        except OSError as error:
            # As if it had died at once, but not while this event is being handled. Clients read
            # the reason: no path of ours in it.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._handle, life.Died(f"not started: {error.strerror}"))
            return
        self._log.debug("worker started", worker=self._process.pid)
        self._process.send(LoadModel(self._source, self.pinning))

    def _said(self, message: FromWorker) -> None:
        match message:
            case Loaded():
                if (refusal := self._accepts(message)) is not None:
                    self._handle(life.ModelRefused(refusal))
                    if self._process is not None:
                        self._process.kill()
                    return
                self._log.info("model loaded", worker=self.pid, seconds=round(message.seconds, 3))
                source = self._source
                self._terms.incidents.model_loaded(source.name, source.version, message.seconds)
                self._handle(life.ModelLoaded())
            case LoadingFailed(reason):
                self._handle(life.ModelRefused(reason))
            case MemoryReport():
                self.memory = message

    def _died(self, ended: Exit) -> None:
        self._process = None
        self.memory = None
        self._handle(life.Died(str(ended), "exit" if ended.signal is None else "signal"))
