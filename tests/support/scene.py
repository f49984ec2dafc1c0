"""A deployment driven step by step, with workers that answer over a real link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from inferd.core.link.messages import BatchAnswer, BatchDone, OutputOverflow, SequenceTerms
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.instance import Completed, Failed, Instance
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.sequences.deployment import SequencedDeployment
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.signature import Signature
from support.link_worker import LinkWorker, link_to
from support.requests import Recorded


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Scene:
    """A deployment, its clock and its workers, driven without threads of the gateway."""

    def __init__(
        self,
        *,
        delay: float = 0.0,
        kind: type[Deployment] = Deployment,
        sequences: SequenceTerms | None = None,
    ) -> None:
        self.clock = Clock()
        info = DeploymentInfo(
            number=1, model="m", version=1, platform="test", signature=Signature((), ()),
            takes_parameters=False, max_queue_size=8, max_queue_delay=delay, instances=(),
            sequences=sequences,
        )  # fmt: skip
        if sequences is not None:
            kind = SequencedDeployment
        self.deployment: Deployment = kind(
            info,
            Statistics(),
            max_batch_bytes=1 << 20,
            now=self.clock,
            epoch_ms=lambda: 7,
        )
        self.workers: list[LinkWorker] = []

    def attach(self) -> tuple[Instance, LinkWorker]:
        """One more worker, free to take a batch."""
        worker = LinkWorker()
        instance = Instance(len(self.workers), link_to(worker), depth=1, max_arena_bytes=1 << 20)
        self.workers.append(worker)
        self.deployment.instances.append(instance)
        self.deployment.dispatch()
        return instance, worker

    def send(
        self,
        on: Lane,
        rows: int = 1,
        deadline: float = inf,
        *,
        ask: Callable[[], bool] | None = None,
    ) -> Recorded:
        """A request that arrives now; `ask` is what the door says if it is asked to tell of a lull."""
        pending = Recorded(on, rows, arrived=self.clock.now, deadline=deadline)
        self.deployment.submit(pending, ask)
        return pending

    def conclude(self, instance: Instance, *, busy: bool) -> None:
        """Take the worker's next answer while the door reads, or does not."""
        message = instance.receive()
        assert isinstance(message, BatchDone)
        outcome = instance.conclude(message)
        assert isinstance(outcome, Completed)
        tally = self.deployment.settle(outcome)
        self.deployment.conclude(instance, outcome, tally, busy=busy)

    def read(self, instance: Instance) -> Completed | Failed | None:
        """The worker's next answer, taken as the dispatcher takes it."""
        message = instance.receive()
        assert not isinstance(message, OutputOverflow | BatchAnswer)
        outcome = instance.conclude(message)
        if isinstance(outcome, Completed):
            tally = self.deployment.settle(outcome)
            self.deployment.conclude(instance, outcome, tally)
        elif outcome is not None:
            self.deployment.abandon(instance, outcome)
        return outcome
