"""One generation of one model version: its workers, from the first load to the last exit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from inferd.core.link.messages import AddDeployment, Loaded
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.replicas.instance import Phase
from inferd.server.supervisor.replicas.links import Gateway, Links
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

    `links` bring loaded workers to gateways. `on_change` is called after every change of
    `state`'s causes.
    """

    def __init__(
        self,
        number: int,
        plan: VersionPlan,
        terms: WorkerTerms,
        *,
        links: Links,
        on_change: Callable[[Deployment], None],
    ) -> None:
        self.number = number
        self.source = plan.source
        self.queue = plan.queue
        self.labels = plan.labels
        self.sequences = plan.sequences
        self.loaded: Loaded | None = None
        self.attached = asyncio.Event()
        """Set once the gateways have reached one of its workers."""
        self.linked = asyncio.Event()
        """Set while the gateways have reached every worker that is loaded."""
        self.drained = asyncio.Event()
        """Set once no gateway holds a request for it any more."""
        self.retiring = False
        """Whether it is no longer routed to."""
        self.announced = False
        """Whether gateways are told of it."""
        self._links = links
        self._holders: set[Gateway] = set()
        self._on_change = on_change
        self.replicas = tuple(
            Replica(
                plan.source,
                pinning,
                terms,
                accepts=self._judge,
                on_change=self._changed,
                index=index,
            )
            for index, pinning in enumerate(plan.pinnings)
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

    def announce(self, gateways: Iterable[Gateway]) -> None:
        """Tell these gateways of it, and link them to every loaded worker."""
        if self.loaded is None:
            raise RuntimeError("a deployment is announced before it is loaded")
        source, loaded = self.source, self.loaded
        message = AddDeployment(
            deployment=self.number,
            model=source.name,
            version=source.version,
            platform=loaded.platform,
            signature=loaded.signature,
            takes_parameters=loaded.takes_parameters,
            max_queue_size=self.queue.max_size,
            max_queue_delay=self.queue.max_delay,
            instances=tuple(replica.pinning for replica in self.replicas),
            preferred_batch_size=loaded.preferred_batch_size,
            decoupled=loaded.decoupled,
            max_streams=self.queue.max_streams,
            labels=dict(self.labels),
            sequences=self.sequences,
        )
        self.announced = True
        for gateway in gateways:
            gateway.send(message)
            self._holders.add(gateway)
            for replica in self.replicas:
                if replica.phase in {Phase.LOADED, Phase.ATTACHED}:
                    self._links.offer(self.number, replica, gateway)

    def retire(self) -> None:
        """It is routed to no more: `drained` tells when every gateway has let go of it."""
        self.retiring = True
        if not self._holders or not self.attached.is_set():
            self.drained.set()  # nobody was ever to route to it, or nobody lives who did

    def drained_by(self, gateway: Gateway) -> None:
        """A gateway holds no request for it any more, or is gone with those it held."""
        self._holders.discard(gateway)
        if self.retiring and not self._holders:
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
        outputs = [spec.name for spec in loaded.signature.outputs]
        if unknown := [name for name in self.labels if name not in outputs]:
            return (
                f"[labels] in model.toml names the output '{unknown[0]}', which the model does not "
                f"have; it gives {', '.join(outputs)}"
            )
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
        if replica.phase is not Phase.ATTACHED:
            self._links.forget(replica)  # those of its past life
        if replica.phase is Phase.LOADED:
            for gateway in self._holders:
                self._links.offer(self.number, replica, gateway)
        self._on_change(self)
