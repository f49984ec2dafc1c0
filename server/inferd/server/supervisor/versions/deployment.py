"""One generation of one model version: its workers, from the first load to the last exit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inferd.core.link.messages import AddDeployment, Loaded
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.replicas.instance import Phase
from inferd.server.supervisor.replicas.replica import Replica, WorkerTerms
from inferd.server.supervisor.versions.plan import VersionPlan

_log = get_logger(__name__)

LOADING = "LOADING"
READY = "READY"
UNLOADING = "UNLOADING"
UNAVAILABLE = "UNAVAILABLE"


class LoadError(RuntimeError):
    """A version cannot be served; the message says why."""


class Deployment:
    """Workers that serve the same files, and what they say of them.

    `offer` gives a loaded worker a link to the gateway; it is called for each one again and
    again, whenever it has none. `on_change` is called after every change of `state`'s causes.
    """

    def __init__(
        self,
        number: int,
        plan: VersionPlan,
        terms: WorkerTerms,
        *,
        offer: Callable[[Deployment, Replica], None],
        on_change: Callable[[Deployment], None],
    ) -> None:
        self.number = number
        self.source = plan.source
        self.queue = plan.queue
        self.loaded: Loaded | None = None
        self.attached = asyncio.Event()
        """Set once the gateway has reached one of its workers."""
        self.linked = asyncio.Event()
        """Set while the gateway has reached every worker that is loaded."""
        self.drained = asyncio.Event()
        """Set once the gateway holds no request for it any more."""
        self.retiring = False
        """Whether it is no longer routed to."""
        self.announced = False
        """Whether gateways are told of it."""
        self._offer = offer
        self._on_change = on_change
        self.replicas = tuple(
            Replica(plan.source, pinning, terms, accepts=self._judge, on_change=self._changed)
            for pinning in plan.pinnings
        )

    @property
    def state(self) -> tuple[str, str]:
        """READY while one worker is attached, else LOADING or UNAVAILABLE and the reason."""
        phases = [replica.phase for replica in self.replicas]
        if Phase.ATTACHED in phases:
            return READY, ""
        for replica in self.replicas:
            if replica.reason:
                return UNAVAILABLE, replica.reason
        if self.attached.is_set():
            return UNAVAILABLE, "the gateway is restarting"
        return LOADING, ""

    async def load(self, slots: asyncio.Semaphore) -> None:
        """Load the first worker; the others only follow if that works. Raises `LoadError`."""
        first = self.replicas[0]
        async with slots:
            first.begin()
            await asyncio.shield(first.settled)
        if first.phase is Phase.FAILED:
            raise LoadError(first.reason)
        if self.loaded is None:
            raise LoadError("it was stopped while loading")

    async def complete(self, slots: asyncio.Semaphore) -> None:
        """Load the other workers, and wait until each has loaded or failed to."""

        async def load(replica: Replica) -> None:
            async with slots:
                replica.begin()
                await asyncio.shield(replica.settled)
            if replica.phase is Phase.FAILED:
                _log.error(
                    "worker did not load; others serve",
                    model=self.source.name,
                    version=self.source.version,
                    device=replica.pinning.device,
                    reason=replica.reason,
                )

        async with asyncio.TaskGroup() as group:
            for replica in self.replicas[1:]:
                group.create_task(load(replica), name="load worker")

    def announce(self, send: Callable[[AddDeployment], None]) -> None:
        """Tell a gateway of it, a new one too, and have every loaded worker linked to that."""
        if self.loaded is None:
            raise RuntimeError("a deployment is announced before it is loaded")
        source, loaded = self.source, self.loaded
        send(
            AddDeployment(
                deployment=self.number,
                model=source.name,
                version=source.version,
                platform=loaded.platform,
                signature=loaded.signature,
                takes_parameters=loaded.takes_parameters,
                max_queue_size=self.queue.max_size,
                max_queue_delay=self.queue.max_delay,
                instances=tuple(replica.pinning for replica in self.replicas),
            )
        )
        self.announced = True
        for replica in self.replicas:
            if replica.phase is Phase.LOADED:
                self._offer(self, replica)

    def gateway_gone(self) -> None:
        """No worker is reached any more, and what the gateway held is lost."""
        for replica in self.replicas:
            replica.link_down()
        if self.retiring:
            self.drained.set()

    async def stop(self) -> None:
        """Let the workers finish their batch, end, and be reaped."""
        for replica in self.replicas:
            replica.stop()
        for replica in self.replicas:
            await replica.stopped.wait()

    def kill(self) -> None:
        """End all workers at once."""
        for replica in self.replicas:
            replica.kill()

    def _judge(self, loaded: Loaded) -> str | None:
        if self.loaded is None:
            self.loaded = loaded
        elif loaded.signature != self.loaded.signature:
            # The gateway checks requests against the first one's answer.
            return (
                "the model's files have changed: other inputs or outputs than before; load it anew"
            )
        return None

    def _changed(self, replica: Replica) -> None:
        if replica.phase is Phase.ATTACHED:
            self.attached.set()
        if all(each.phase is not Phase.LOADED for each in self.replicas):
            self.linked.set()
        else:
            self.linked.clear()
        if replica.phase is Phase.LOADED and self.announced:
            self._offer(self, replica)
        self._on_change(self)
