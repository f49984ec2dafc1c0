"""The models of this server: loaded, reloaded and unloaded, and always described as they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inferd.core.link.messages import PublishModel, VersionState
from inferd.core.settings import ModelOverride
from inferd.core.telemetry.logs import get_logger
from inferd.server.supervisor.catalogue import Catalogue
from inferd.server.supervisor.replicas.devices import Machine
from inferd.server.supervisor.replicas.links import Gateway, Gateways, Links
from inferd.server.supervisor.replicas.replica import WorkerTerms
from inferd.server.supervisor.repository.scan import NAME, FoundModel, ScanError, scan
from inferd.server.supervisor.turns import Turns
from inferd.server.supervisor.versions.deployment import (
    LOADING,
    UNAVAILABLE,
    UNLOADING,
    Deployment,
    LoadError,
)
from inferd.server.supervisor.versions.plan import Obstacle, VersionPlan, plan
from inferd.wire.errors import LoadFailed, ModelNotFound

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LibraryTerms:
    """What the operator set. `drain_bound`, in seconds, is how long a deployment that is
    replaced may take to answer what it holds.
    """

    paths: tuple[Path, ...]
    override: Callable[[str], ModelOverride]
    devices: tuple[str, ...]
    machine: Machine
    workers: WorkerTerms
    parallel_loads: int
    drain_bound: float
    gateways: int = 1


class Library:
    """Models by name, their versions, and the deployments that serve them."""

    def __init__(self, terms: LibraryTerms, gateways: Gateways) -> None:
        self.catalogue = Catalogue()
        self._terms = terms
        self._gateways = gateways
        self._slots = asyncio.Semaphore(terms.parallel_loads)
        self._turns = Turns()
        self._current: dict[tuple[str, int], Deployment] = {}
        self._alive: dict[int, Deployment] = {}
        self._links = Links()
        self._numbers = itertools.count(1)

    @property
    def alive(self) -> tuple[Deployment, ...]:
        """Everything that has workers, what is being replaced or stopped included."""
        return tuple(self._alive.values())

    def deployment(self, model: str, version: int) -> Deployment | None:
        """What serves this version, or would if its workers lived."""
        return self._current.get((model, version))

    async def start(self, models: Iterable[FoundModel]) -> None:
        """Load what was found, side by side, each version for itself; done when all have settled."""
        async with asyncio.TaskGroup() as group:
            for model in models:
                group.create_task(self._start_model(model), name=f"start {model.name}")

    async def load(self, name: str) -> None:
        """Load a model from disk anew; what serves now is replaced once all of it has loaded.

        Raises `ModelNotFound`, and `LoadFailed` if it could not be loaded.
        """
        async with self._turns.turn(name):
            model = await self._find(name)
            plans = await self._plan(model)
            deployments = [
                self._deployment(each) for each in plans if isinstance(each, VersionPlan)
            ]
            served = {version for known, version in self._current if known == name}
            self._publish(
                self.catalogue.set(
                    name,
                    *(_state(each, LOADING) for each in _versions(plans) if each not in served),
                )
            )
            try:
                await self._bring_up(name, plans, deployments)
            except BaseException as error:
                await self._stop(deployments)
                reason = str(error) if isinstance(error, LoadError) else "loading was abandoned"
                failed = (
                    _state(version, UNAVAILABLE, reason)
                    for version in _versions(plans)
                    if version not in served
                )
                self._publish(self.catalogue.set(name, *failed))
                if not isinstance(error, LoadError):
                    raise
                raise LoadFailed(f"failed to load '{name}': {reason}") from None
            await self._swap(name, deployments)

    async def unload(self, name: str) -> None:
        """Stop serving a model once what it holds is answered. Raises `ModelNotFound`."""
        async with self._turns.turn(name):
            known = self.catalogue.versions(name)
            if NAME.fullmatch(name) is None or not known:
                raise ModelNotFound(f"failed to unload '{name}', there is no such model")
            leaving = self._retire(name)
            numbers = {deployment.source.version for deployment in leaving}
            self._publish(
                self.catalogue.set(name, *(_state(number, UNLOADING) for number in numbers))
            )
            await self._empty(leaving)
            gone = (_state(each.version, UNAVAILABLE, "unloaded") for each in known)
            self._publish(self.catalogue.set(name, *gone))
            _log.info("model unloaded", model=name)

    def instance_attached(self, link: int) -> None:
        """A gateway reaches a worker."""
        self._links.taken(link)

    def instance_lost(self, link: int) -> None:
        """A gateway has closed the link to a worker."""
        self._links.lost(link)

    def deployment_drained(self, gateway: Gateway, number: int) -> None:
        """A gateway holds no request for a deployment any more."""
        if (deployment := self._alive.get(number)) is not None:
            deployment.drained_by(gateway)

    def gateway_up(self, gateway: Gateway) -> None:
        """Tell a new gateway everything."""
        for deployment in self._alive.values():
            if deployment.announced and not deployment.retiring:
                deployment.announce([gateway])
        for message in self.catalogue.everything():
            gateway.send(message)

    def gateway_down(self, gateway: Gateway) -> None:
        """A gateway is gone: workers that no other one reaches are not reached any more."""
        for deployment in self._alive.values():
            deployment.drained_by(gateway)
        self._links.drop(gateway)

    async def stop(self) -> None:
        """Stop all workers and wait until they are reaped."""
        self._current.clear()
        await self._stop(tuple(self._alive.values()))

    def kill(self) -> None:
        """End all workers at once."""
        for deployment in self._alive.values():
            deployment.kill()

    async def _start_model(self, model: FoundModel) -> None:
        async with self._turns.turn(model.name):
            found = (_state(version.version, LOADING) for version in model.versions[-1:])
            self._publish(self.catalogue.set(model.name, *found))
            plans = await self._plan(model)
            states = (
                _state(each.version, UNAVAILABLE, each.reason)
                if isinstance(each, Obstacle)
                else _state(each.version, LOADING)
                for each in plans
            )
            self._publish(self.catalogue.replace(model.name, *states))
            async with asyncio.TaskGroup() as group:
                for each in plans:
                    if isinstance(each, Obstacle):
                        self._terms.workers.incidents.load_failed(model.name, each.version)
                        self._log_failure(model.name, each.version, each.reason)
                    else:
                        group.create_task(self._start_version(each), name="start version")

    async def _start_version(self, version: VersionPlan) -> None:
        deployment = self._deployment(version)
        name, number = version.source.name, version.version
        try:
            await deployment.load(self._slots)
        except LoadError as error:
            await self._stop([deployment])
            self._publish(self.catalogue.set(name, _state(number, UNAVAILABLE, str(error))))
            self._log_failure(name, number, str(error))
            return
        self._current[name, number] = deployment
        deployment.announce(self._gateways.up)
        await deployment.complete(self._slots)
        await self._gateways.settled()  # or one that hangs would keep the worker from being reached
        with suppress(TimeoutError):  # its state tells why; meanwhile the others serve
            async with asyncio.timeout(self._terms.workers.load_timeout):
                await deployment.attached.wait()
                await deployment.linked.wait()

    async def _bring_up(
        self, name: str, plans: Sequence[VersionPlan | Obstacle], deployments: Sequence[Deployment]
    ) -> None:
        """All that is planned loaded and reached by the gateways. Raises `LoadError`."""
        for each in plans:
            if isinstance(each, Obstacle):
                self._terms.workers.incidents.load_failed(name, each.version)
                raise LoadError(f"version {each.version}: {each.reason}")
        for deployment in deployments:
            await deployment.load(self._slots)
            await deployment.complete(self._slots)
        for deployment in deployments:
            deployment.announce(self._gateways.up)
        await self._gateways.settled()  # or one that hangs would keep the worker from being reached
        try:
            async with asyncio.timeout(self._terms.workers.load_timeout):
                for deployment in deployments:
                    await deployment.attached.wait()
        except TimeoutError:
            raise LoadError("the gateways did not reach the workers in time") from None

    async def _swap(self, name: str, deployments: Sequence[Deployment]) -> None:
        """Route to these deployments and let go of the model's others."""
        leaving = self._retire(name)
        for deployment in deployments:
            self._current[name, deployment.source.version] = deployment
        self._publish(self.catalogue.replace(name, *(_described(each) for each in deployments)))
        await self._empty(leaving)

    def _retire(self, name: str) -> list[Deployment]:
        keys = [key for key in self._current if key[0] == name]
        leaving = [self._current.pop(key) for key in keys]
        for deployment in leaving:
            deployment.retire()
        return leaving

    async def _empty(self, deployments: Sequence[Deployment]) -> None:
        """Wait for their last answers, within bounds, and stop them."""
        try:
            async with asyncio.timeout(self._terms.drain_bound):
                for deployment in deployments:
                    await deployment.drained.wait()
        except TimeoutError:
            _log.warning("requests outlived their deployment", bound=self._terms.drain_bound)
        await self._stop(deployments)

    async def _stop(self, deployments: Sequence[Deployment]) -> None:
        await asyncio.gather(*(deployment.stop() for deployment in deployments))
        for deployment in deployments:
            self._alive.pop(deployment.number, None)

    async def _find(self, name: str) -> FoundModel:
        # The name is only ever compared with what lies there: it never becomes a path.
        unknown = ModelNotFound(f"failed to load '{name}', there is no such model")
        if NAME.fullmatch(name) is None:
            raise unknown
        try:
            found = await asyncio.to_thread(scan, self._terms.paths)
        except (ScanError, OSError) as error:
            # Its text names the operator's folders, which are nothing to clients.
            _log.warning("models cannot be looked up", error=str(error))
            raise LoadFailed(
                f"failed to load '{name}': the server cannot look its models up; its log says why"
            ) from None
        for model in found.models:
            if model.name == name:
                return model
        raise unknown

    async def _plan(self, model: FoundModel) -> tuple[VersionPlan | Obstacle, ...]:
        terms = self._terms
        override = terms.override(model.name)
        return await asyncio.to_thread(
            plan,
            model,
            override,
            devices=terms.devices,
            machine=terms.machine,
            gateways=terms.gateways,
        )

    def _deployment(self, version: VersionPlan) -> Deployment:
        number = next(self._numbers)
        deployment = Deployment(
            number, version, self._terms.workers, links=self._links, on_change=self._changed
        )
        self._alive[number] = deployment
        return deployment

    def _changed(self, deployment: Deployment) -> None:
        key = (deployment.source.name, deployment.source.version)
        if self._current.get(key) is deployment:
            self._publish(self.catalogue.set(key[0], _described(deployment)))

    def _publish(self, message: PublishModel | None) -> None:
        if message is not None:
            self._gateways.send(message)

    @staticmethod
    def _log_failure(model: str, version: int, reason: str) -> None:
        _log.error("model not served", model=model, version=version, reason=reason)


def _state(version: int, state: str, reason: str = "") -> VersionState:
    return VersionState(version, state, reason, None)


def _described(deployment: Deployment) -> VersionState:
    state, reason = deployment.state
    # Named once it was reached: from then on gateways route to it, and say when they cannot.
    routed = deployment.number if deployment.attached.is_set() else None
    return VersionState(deployment.source.version, state, reason, routed)


def _versions(plans: Sequence[VersionPlan | Obstacle]) -> list[int]:
    return [each.version for each in plans]
