"""Where requests meet models: resolve, admit, queue; and what is known of all models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic, time
from typing import TypeVar

from inferd.core.link.messages import AddDeployment, AddInstance, PublishModel, VersionLoad
from inferd.core.telemetry.sampling import in_turn
from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.admission.forms import Forms
from inferd.server.gateway.admission.parameters import (
    EMPTY_FINAL,
    for_sequences,
    read_parameters,
)
from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.admission.regions import NO_SHARED_MEMORY, Regions, Targets
from inferd.server.gateway.decoupled import UNARY_REFUSED, DecoupledCall, DecoupledRequest
from inferd.server.gateway.infer_request import InferCall, InferRequest, PlacedRequest, RefusedCall
from inferd.server.gateway.observed_call import observing
from inferd.server.gateway.refusals import NO_MODEL, Refusals
from inferd.server.gateway.routing.table import RoutingTable
from inferd.server.gateway.scheduling.decoupled.deployment import DecoupledDeployment
from inferd.server.gateway.scheduling.deployment import Deployment, Superseded
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.dispatcher import Dispatcher
from inferd.server.gateway.scheduling.instance import DEPTH, Instance, Link
from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.server.gateway.scheduling.sequences.deployment import SequencedDeployment
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.scheduling.waiting.lull import Lull
from inferd.wire.errors import DeadlineExceeded, Forbidden, ServingError, Unimplemented
from inferd.wire.requests import InferMessage
from inferd.wire.tensor_parameters import TensorParameters
from inferd.wire.tensors import Buffer

Call = TypeVar("Call", bound=InferCall)

_LARGEST_CHUNK = 4
"""Messages that one request of a bulk job may take, where a message limits all others."""


class Dataplane:
    """The same for every door: serialised requests in, serialised answers out.

    `infer` is called on a door's thread; deployments and models come from the supervisor's.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int,
        max_request_time: float,
        max_arena_bytes: int,
        shared_memory: bool = False,
        drained: Callable[[int], None],
        lost: Callable[[int], None],
        changed: Callable[[], None],
    ) -> None:
        """Sizes in bytes, time in seconds; `shared_memory` whether tensors may lie in clients'.

        `drained` hears the number of an emptied deployment, `lost` that of a link that is
        closed, `changed` that readiness may differ.
        """
        self.table = RoutingTable()
        self.regions = Regions()
        self._shared_memory = shared_memory
        self._max_message_bytes = max_message_bytes
        self.max_chunk_bytes = _LARGEST_CHUNK * max_message_bytes
        self._max_request_time = max_request_time
        self._max_arena_bytes = max_arena_bytes
        self._drained = drained
        self._changed = changed
        self._dispatcher = Dispatcher(
            now=monotonic, drained=self._forget, lost=lost, changed=changed
        )
        self._deployments: dict[int, Deployment] = {}
        self._admissions: dict[Deployment, Admission] = {}
        self.refusals = Refusals(self._dispatcher.lock, self.table)
        self._statistics = {NO_MODEL: self.refusals.unrouted}
        self._forms: Forms[tuple[Deployment, Plan]] = Forms()

    @property
    def lull(self) -> Lull:
        """What the door is to tell when it has read all that had arrived."""
        return self._dispatcher.lull

    def start(self) -> None:
        """Begin to listen to workers."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Close every link. No answer is sent any more."""
        self._dispatcher.stop()

    def refused(self, call: RefusedCall, model: str, version: str, error: ServingError) -> None:
        """Hear of a call that did not come here: its door answers it with this error."""

    def sampled(
        self, gap: Callable[[], int], rarely: Callable[[Call], None]
    ) -> Callable[[Call], None]:
        """`infer`, for a door with one thread, but each `gap()`-th call goes to `rarely` instead."""
        return in_turn(gap, rarely, self.infer)

    def infer(
        self, call: InferCall, seen: Observation | None = None, *, background: bool = False
    ) -> None:
        """Take a serialised ModelInferRequest and see to it that the call is answered, once.

        One that is a `DecoupledCall` is answered as often as its model likes. `seen` is told what
        becomes of the request; the call ends it. One in the `background` runs when no other waits,
        and has its own deadline only.
        """
        arrived = monotonic()
        deployment: Deployment | None = None
        try:
            found = self._forms.find(call.payload)
            make: Callable[..., InferRequest] = InferRequest
            if found is not None:
                (deployment, plan), buffers = found
                lane, deadline, request_id = plan.lane, arrived + self._max_request_time, ""
            else:
                message = InferMessage(call.payload)
                call, seen = observing(call, seen, message)
                deployment = self.table.resolve(message.model, message.version)
                if isinstance(deployment, DecoupledDeployment):
                    self._take_decoupled(call, message, deployment, arrived, seen)
                    return
                wanted = message.tensor_parameters()
                plan, lane, deadline = self._admit(
                    deployment, message, wanted, arrived, len(call.payload)
                )
                request_id = message.id
                buffers, make = self._locate(message, wanted)
                if message.plain and make is InferRequest:
                    self._remember(call.payload, message, deployment, plan)
            if background:
                lane, deadline = lane.in_background(), call.deadline
            elif call.deadline < deadline:
                deadline = call.deadline
            tensors, nbytes = plan.arrange(buffers)
            if deadline <= arrived:
                raise DeadlineExceeded("Request timeout expired before it was queued")
            request = make(lane, plan, tensors, nbytes, arrived, deadline, request_id, call)
            if seen is not None:
                seen.enter(request, deployment.info, deployment.statistics)
            put = self._dispatcher.put_by if background else self._dispatcher.submit
            put(deployment, request)
            return  # noqa: TRY300  # what follows is for a request that was overtaken
        except Superseded:
            pass
        except ServingError as error:
            self.refusals.count(deployment, arrived, error)
            call.fail(error)
            return
        # Another deployment took over while this one was admitted: admit it there. What a
        # subclass does to requests has been done.
        Dataplane.infer(self, call, seen, background=background)

    def _take_decoupled(
        self,
        call: InferCall,
        message: InferMessage,
        deployment: DecoupledDeployment,
        arrived: float,
        seen: Observation | None,
    ) -> None:
        if not isinstance(call, DecoupledCall):
            raise Unimplemented(UNARY_REFUSED)
        wanted = message.tensor_parameters()
        if wanted is not None and wanted.uses_shared_memory:
            raise Unimplemented("a model that yields takes no tensors in shared memory")
        plan, lane, deadline = self._admit(deployment, message, wanted, arrived, len(call.payload))
        until = min(arrived + self._max_request_time, call.deadline)
        tensors, nbytes = plan.arrange(message.buffers())
        deadline = min(deadline, until)
        if deadline <= arrived:
            raise DeadlineExceeded("Request timeout expired before it was queued")
        request = DecoupledRequest(
            lane, plan, tensors, nbytes, arrived, deadline, until, message,
            deployment.info.version, call,
            empty_final=bool((message.parameters() or {}).get(EMPTY_FINAL)),
        )  # fmt: skip
        if seen is not None:
            seen.enter(request, deployment.info, deployment.statistics)
        call.begin(partial(self._dispatcher.proceed, deployment, request))
        self._dispatcher.submit(deployment, request)

    def _locate(
        self, message: InferMessage, wanted: TensorParameters | None
    ) -> tuple[Sequence[Buffer], Callable[..., InferRequest]]:
        """Where a request's tensors are, and what makes a request that knows where outputs go."""
        if wanted is None or not wanted.uses_shared_memory:
            return message.buffers(), InferRequest
        elsewhere = self.regions.read(wanted.inputs, self._max_message_bytes)
        make = partial(PlacedRequest, Targets(wanted.outputs, self.regions))
        return message.buffers(elsewhere), make

    def _remember(
        self, payload: bytes, message: InferMessage, deployment: Deployment, plan: Plan
    ) -> None:
        with self._dispatcher.lock:
            # The model may have been published anew since: then nobody would forget this form.
            if self.table.resolve(message.model, message.version) is deployment:
                self._forms.remember(payload, (deployment, plan))

    def _admit(
        self,
        deployment: Deployment,
        message: InferMessage,
        wanted: TensorParameters | None,
        arrived: float,
        nbytes: int,
    ) -> tuple[Plan, Lane, float]:
        """The plan, the lane and the deadline of a request. Raises `ServingError`."""
        admission = self._admissions.get(deployment)
        if admission is None:
            raise Superseded  # drained since it was looked up
        if wanted is not None and wanted.uses_shared_memory and not self._shared_memory:
            raise Forbidden(NO_SHARED_MEMORY)
        plan = admission.plan(message, wanted.classes if wanted is not None else (), nbytes)
        lane, deadline = plan.lane, arrived + self._max_request_time
        parameters = message.parameters()
        info, asked = deployment.info, None
        if parameters is not None:
            asked = read_parameters(parameters)
            if asked.timeout is not None:
                deadline = min(deadline, arrived + asked.timeout)
            if asked.custom and info.takes_parameters:
                lane = admission.lane_with(lane, asked.custom)
        sequence = for_sequences(asked, info.model, offered=info.sequences is not None)
        if sequence is not None:
            lane = lane.in_sequence(sequence)
        return plan, lane, deadline

    def add_deployment(self, message: AddDeployment) -> None:
        """Make a deployment ready for instances; nothing is routed to it yet."""
        key = (message.model, message.version)
        statistics = self._statistics.setdefault(key, Statistics())
        info = DeploymentInfo.of(message)
        deployment = _kind_of(info)(
            info,
            statistics,
            # A batch's inputs, and outputs as large, must fit into an arena beside another batch.
            max_batch_bytes=min(self._max_message_bytes, self._max_arena_bytes // 4),
            now=monotonic,
            epoch_ms=lambda: int(time() * 1000),
        )
        self._admissions[deployment] = Admission(
            message.model,
            message.version,
            message.signature,
            max_tensor_bytes=self._max_message_bytes,
            preferred_batch_size=message.preferred_batch_size,
            labels=message.labels,
        )
        self._deployments[message.deployment] = deployment
        self._dispatcher.add(deployment)

    def attach(self, message: AddInstance, link: Link) -> bool:
        """Give a deployment one more worker; False, and the link is closed, if it has drained."""
        found = self._deployments.get(message.deployment)
        if found is None:
            link.close()
            return False
        info = found.info
        device = message.device
        depth = info.max_streams if info.decoupled else DEPTH[device.partition(":")[0]]
        added = Instance(
            message.link,
            link,
            depth=depth,
            max_arena_bytes=self._max_arena_bytes,
            device=device,
            index=message.instance,
        )
        self._dispatcher.attach(found, added)
        return True

    def publish(self, message: PublishModel) -> None:
        """Route a model's requests anew; deployments it no longer names are drained."""
        before = self._routed(message.model)
        self.table.publish(message, self._deployments)
        with self._dispatcher.lock:
            self._forms.clear()  # they name deployments
        for deployment in before - self._routed(message.model):
            self._dispatcher.drain(deployment)
        self._changed()

    def statistics(self, model: str, version: int, read: Callable[[Statistics], None]) -> None:
        """Let `read` look at the counts of a version while they stand still."""
        self._dispatcher.inspect(lambda: read(self._statistics[model, version]))

    def loads(self) -> list[VersionLoad]:
        """What every deployment holds now; one that is being replaced beside its successor."""
        with self._dispatcher.lock:
            return [each.load() for each in self._deployments.values()]

    def inspect(self, read: Callable[[Mapping[tuple[str, int], Statistics]], None]) -> None:
        """Let `read` look at all counts, by model and version, while they stand still."""
        self._dispatcher.inspect(lambda: read(self._statistics))

    def _routed(self, model: str) -> set[Deployment]:
        versions = self.table.models().get(model, {})
        return {each.deployment for each in versions.values() if each.deployment is not None}

    def _forget(self, number: int) -> None:
        deployment = self._deployments.pop(number)
        del self._admissions[deployment]
        self._drained(number)


def _kind_of(info: DeploymentInfo) -> type[Deployment]:
    if info.decoupled:
        return DecoupledDeployment
    return Deployment if info.sequences is None else SequencedDeployment
