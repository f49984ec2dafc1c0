"""The thread that listens to the workers, and the lock that guards all scheduling."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from functools import partial
from math import inf

from inferd.core.link.messages import BatchAnswer, BatchDone, BatchFailed, OutputOverflow
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.scheduling.decoupled.deployment import DecoupledDeployment
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.instance import Completed, Failed, Instance
from inferd.server.gateway.scheduling.pending import Pending
from inferd.server.gateway.scheduling.waiting.lull import Lull
from inferd.wire.errors import Internal, OutputInvalid, ServingError

_log = get_logger(__name__)

_FINE = 0.002
"""Seconds; shorter waits are timed to the microsecond."""


_LONGEST = 3600.0
"""Seconds; epoll takes no more than some weeks."""


class Dispatcher:
    """Brings requests to deployments and workers' answers back to them.

    Two threads meet here: the door's, which submits, and this one's, which reads the links,
    answers and keeps the deadlines. Deployments are touched under `lock` alone.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        drained: Callable[[int], None],
        lost: Callable[[int], None],
        changed: Callable[[], None],
    ) -> None:
        """`drained` is called, under the lock, with the number of a deployment that emptied.

        `lost` is called, without it, with the number of a link that is closed.
        `changed` is called, without it, when a deployment may have become ready or unready.
        """
        self.lock = threading.Lock()
        self._answering = threading.Lock()  # taken before `lock`: answers go out that count later
        self._now = now
        self._drained = drained
        self._lost = lost
        self._changed = changed
        self._links: dict[int, tuple[Deployment, Instance]] = {}
        self._deployments: set[Deployment] = set()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._alarm = inf
        self.lull = Lull(self._release)
        self._ask = self.lull.ask
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close every link. No answer is sent any more."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for _, instance in self._links.values():
            instance.close()
        self._links.clear()
        self._epoll.close()
        os.close(self._wake)

    def add(self, deployment: Deployment) -> None:
        """Take a deployment's deadlines into care."""
        with self.lock:
            self._deployments.add(deployment)

    def attach(self, deployment: Deployment, instance: Instance) -> None:
        """From now on the deployment has this instance."""
        with self.lock:
            deployment.instances.append(instance)
            self._links[instance.link.fileno()] = (deployment, instance)
            self._epoll.register(instance.link.fileno(), select.EPOLLIN)
            deployment.dispatch()
            self._set_alarm(deployment, wake=True)
        self._changed()

    def submit(self, deployment: Deployment, pending: Pending) -> None:
        """Queue a request. Raises what `Deployment.submit` raises."""
        with self.lock:
            if not deployment.quick:
                pending.watch(partial(self.cancel, deployment, pending))
            event = deployment.submit(pending, self._ask)
            if event < self._alarm:
                self._alarm = event
                os.eventfd_write(self._wake, 1)

    def put_by(self, deployment: Deployment, pending: Pending) -> None:
        """Queue a request as background work. Raises what `Deployment.put_by` raises."""
        with self.lock:
            pending.watch(partial(self.cancel, deployment, pending))
            event = deployment.put_by(pending)
            if event < self._alarm:
                self._alarm = event
                os.eventfd_write(self._wake, 1)

    def cancel(self, deployment: Deployment, pending: Pending) -> None:
        """The caller of a request is gone."""
        with self.lock:
            deployment.cancel(pending)
            self._check_drained(deployment)

    def proceed(self, deployment: DecoupledDeployment, pending: Pending) -> None:
        """The caller has read on: the request's next answer may be made."""
        with self.lock:
            deployment.proceed(pending)

    def drain(self, deployment: Deployment) -> None:
        """Nothing new comes: close the deployment once it is empty."""
        with self.lock:
            deployment.draining = True
            self._check_drained(deployment)

    def inspect(self, look: Callable[[], None]) -> None:
        """Call `look` while no counts change and every answer that was sent is counted."""
        with self._answering, self.lock:
            look()

    def _release(self) -> None:
        """The door has read all that had arrived: what was held for it goes."""
        with self.lock:
            for deployment in self._deployments:
                if deployment.held:
                    deployment.dispatch()
                    self._set_alarm(deployment, wake=True)

    def _run(self) -> None:
        while not self._stopping:
            timeout = self._timeout()
            if timeout is not None and 0 < timeout < _FINE:
                # epoll counts in milliseconds: it would wait for longer than asked.
                select.select([self._epoll], [], [], timeout)
                timeout = 0.0
            for fd, _ in self._epoll.poll(timeout):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self.lock:
                    link = self._links.get(fd)
                if link is not None:
                    self._serve(*link)
            if self._now() >= self._alarm:
                self._ring()

    def _set_alarm(self, deployment: Deployment, *, wake: bool) -> None:
        """With the lock held: see to it that the thread looks up when this deployment needs it."""
        event = deployment.next_event()
        if event < self._alarm:
            self._alarm = event
            if wake:
                os.eventfd_write(self._wake, 1)

    def _timeout(self) -> float | None:
        if self._alarm == inf:
            return None
        return min(_LONGEST, max(0.0, self._alarm - self._now()))

    def _ring(self) -> None:
        """A deadline has passed or a delay ended somewhere."""
        with self.lock:
            for deployment in list(self._deployments):
                deployment.dispatch()
                for pending in deployment.unanswered():
                    pending.watch(partial(self.cancel, deployment, pending))
                self._check_drained(deployment)
            self._alarm = min((each.next_event() for each in self._deployments), default=inf)

    def _serve(self, deployment: Deployment, instance: Instance) -> None:
        try:
            message = instance.receive()
            if isinstance(message, OutputOverflow):
                with self.lock:
                    deployment.overflowed(instance, message)
                    self._set_alarm(deployment, wake=False)
                    self._check_drained(deployment)
            elif isinstance(message, BatchAnswer):
                self._pass_on(deployment, instance, message)
            else:
                self._conclude(deployment, instance, message)
        except PeerGone:
            self._detach(deployment, instance)
        except Exception as error:  # the last resort: this thread carries all other workers
            _log.error("a worker's message cannot be followed: closing its link", exc_info=error)
            self._detach(deployment, instance)

    def _conclude(
        self, deployment: Deployment, instance: Instance, message: BatchDone | BatchFailed
    ) -> None:
        outcome = instance.conclude(message)
        with self._answering:
            tally = None
            if isinstance(outcome, Completed):
                try:
                    tally = deployment.settle(outcome)
                except OutputInvalid as error:
                    outcome = Failed(outcome.number, outcome.execution, error)
            with self.lock:
                if isinstance(outcome, Failed):
                    deployment.abandon(instance, outcome)
                elif outcome is not None and tally is not None:
                    deployment.conclude(instance, outcome, tally, busy=not self.lull.idle)
                    if deployment.held:
                        self.lull.wanted = True
                # What waits now may be due before anything else happens.
                self._set_alarm(deployment, wake=False)
                self._check_drained(deployment)
        if isinstance(outcome, Failed):
            if isinstance(message, BatchDone):  # of others the worker has told
                _tell_unfit(deployment, outcome.error)
        elif tally is not None and tally.unfit:
            _tell_unfit(deployment, tally.unfit[0][1])

    def _pass_on(self, deployment: Deployment, instance: Instance, message: BatchAnswer) -> None:
        if not isinstance(deployment, DecoupledDeployment):
            raise TypeError("a worker gave one of many answers for a model that is not decoupled")
        outcome = instance.answer(message)
        with self._answering:
            goes_on: bool | None = None
            if isinstance(outcome, Completed):
                try:
                    goes_on = deployment.pass_on(outcome)
                except OutputInvalid as error:
                    outcome = Failed(outcome.number, outcome.execution, error)
            with self.lock:
                if isinstance(outcome, Failed):
                    deployment.misanswered(instance, outcome)
                elif outcome is not None and goes_on is not None:
                    deployment.passed_on(instance, outcome, goes_on=goes_on)
        if isinstance(outcome, Failed):
            _tell_unfit(deployment, outcome.error)

    def _detach(self, deployment: Deployment, instance: Instance) -> None:
        with self.lock:
            fd = instance.link.fileno()
            self._epoll.unregister(fd)
            del self._links[fd]
            deployment.lost(instance)
            self._set_alarm(deployment, wake=False)
            self._check_drained(deployment)
        self._changed()
        if not deployment.draining:
            self._lost(instance.link_number)
            _log.warning(
                "worker lost",
                model=deployment.info.model,
                version=deployment.info.version,
                instance=instance.index,
                late_answers=instance.late_answers,
            )

    def _check_drained(self, deployment: Deployment) -> None:
        if deployment.draining and deployment.idle and deployment in self._deployments:
            self._deployments.discard(deployment)
            self._drained(deployment.info.number)


def _tell_unfit(deployment: Deployment, error: ServingError) -> None:
    """Log that a model's answer is none, unless that is for what its caller asked."""
    if isinstance(error, Internal):
        _log.error(
            "the model's answer does not fit",
            model=deployment.info.model,
            version=deployment.info.version,
            error=error.message,
            error_code=error.reason,
        )
