"""The dataplane of a gateway that traces: what it traces, and that it does so once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import Any

import pytest

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    FromLinkedWorker,
    Pinning,
    PublishModel,
    VersionState,
)
from inferd.core.link.sockets import MessageSocket
from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.scheduling.instance import Link
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.server.gateway.tracing.dataplane import TracedDataplane
from inferd.server.gateway.tracing.tracer import Tracer
from inferd.wire.errors import ServingError
from support.calls import ROWS, rows
from support.link_worker import LinkWorker


class Gateway:
    """A dataplane, and the supervisor's messages to it."""

    def __init__(self, make: Callable[..., Dataplane], max_request_time: float = 60.0) -> None:
        self.dataplane = make(
            max_message_bytes=1 << 20,
            max_request_time=max_request_time,
            max_arena_bytes=1 << 20,
            drained=lambda deployment: None,
            lost=lambda link: None,
            changed=lambda: None,
        )
        self.dataplane.start()

    def deploy(self, number: int, worker: LinkWorker) -> None:
        """Route the model to a deployment with this worker alone."""
        self.dataplane.add_deployment(
            AddDeployment(
                deployment=number,
                model="m",
                version=1,
                platform="test",
                signature=ROWS,
                takes_parameters=False,
                max_queue_size=10,
                max_queue_delay=0.0,
                instances=(Pinning("cpu"),),
            )
        )
        link: Link = MessageSocket(worker.gateway_end, FromLinkedWorker)
        self.dataplane.attach(AddInstance(number, number, "cpu", 0), link)
        self.dataplane.publish(PublishModel("m", (VersionState(1, "READY", "", number),)))


class Call:
    """Its deadline is looked at when it is admitted: at that moment something happens."""

    def __init__(
        self,
        payload: bytes,
        happens: Callable[[], None] = lambda: None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.method = "/s/ModelInfer"
        self.payload = payload
        self.metadata = metadata
        self.answers: list[bytes | ServingError] = []
        self._happens = happens

    @property
    def deadline(self) -> float:
        """None, in monotonic seconds."""
        happens, self._happens = self._happens, lambda: None
        happens()
        return inf

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """The caller stays."""

    def reply(self, payload: bytes) -> None:
        """Keep the answer."""
        self.fail(payload)

    def fail(self, error: ServingError | bytes) -> None:
        """Keep the error."""
        self.answers.append(error)


@pytest.fixture
def traced() -> Iterator[tuple[Gateway, SimpleQueue[object]]]:
    """A gateway that traces every request, and what is over."""
    over: SimpleQueue[object] = SimpleQueue()
    gateway = Gateway(partial(TracedDataplane, Tracer(1.0, over.put), unexpected))
    yield gateway, over
    gateway.dataplane.stop()


def test_a_door_s_requests_are_traced_in_turn_or_as_their_callers_say() -> None:
    """Those whose turn it is to be logged go there instead, and are traced first when they come back; a
    context that is none does not give a request a second turn.
    """
    # A tenth is logged; of the others 4 in 9 are wanted. Where 0.0 is drawn it is the next one's turn,
    # with 0.5 the second's, with 0.8 the third's.
    draws = iter([0.0, 0.5, 0.5, 0.5, 0.8, 0.5, 0.5])
    over: list[Any] = []
    tracer = Tracer(0.5, over.append, logged=0.1, chance=lambda: next(draws))
    gateway = Gateway(partial(TracedDataplane, tracer, unexpected))
    logged: list[Call] = []
    gaps = iter([4, 9])
    handle = gateway.dataplane.sampled(lambda: next(gaps), logged.append)
    yes, no, broken = (
        (("user-agent", "x"), ("traceparent", each))
        for each in (f"00-{'1' * 32}-{'2' * 16}-01", f"00-{'1' * 32}-{'2' * 16}-00", "00-0-0-01")
    )
    calls = [Call(b"", metadata=each) for each in ((), no, yes, (), (), (), no, broken, broken)]
    for number, each in enumerate(calls, 1):
        each.method = f"/s/{number}"
        handle(each)
    assert logged == [calls[3]]
    assert [each.method for each in over] == ["/s/3", "/s/6", "/s/9"]
    assert [len(each.answers) for each in calls] == [1, 1, 1, 0, 1, 1, 1, 1, 1]
    ids: list[tuple[str, str]] = []
    calls[3].traced = lambda *told: ids.append(told)  # type: ignore[attr-defined] # as with a line
    gateway.dataplane.infer(calls[3])
    assert over[-1].method == "/s/4"
    assert ids == [(f"{over[-1].trace.trace_id:032x}", f"{over[-1].trace.span_id:016x}")]
    gateway.dataplane.stop()


def test_it_is_admitted_to_the_one_that_took_over(
    traced: tuple[Gateway, SimpleQueue[object]],
) -> None:
    """It is answered once, with its bill once, and traced once."""
    gateway, over = traced
    old, new = LinkWorker(), LinkWorker()
    gateway.deploy(1, old)
    message = ModelInferRequest.FromString(rows([[7.0]]))
    message.parameters["inferd_timings"].bool_param = True
    call = Call(message.SerializeToString(), lambda: gateway.deploy(2, new))
    gateway.dataplane.infer(call)
    batch, request = over.get(timeout=10), over.get(timeout=10)
    (answer,) = call.answers
    assert isinstance(answer, bytes)
    assert ModelInferResponse.FromString(answer).model_name == "m"
    assert answer.count(b"inferd_device") == 1
    assert (old.batches, new.batches) == ([], [1])
    assert isinstance(request, Observation)
    assert request.batches == [batch]
    assert over.empty()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_runs_in_the_background_does_so_where_another_took_over(share: float) -> None:
    """Traced or not: where others have no time at all, it has its own."""
    tracer = Tracer(share, lambda over: None)
    gateway = Gateway(partial(TracedDataplane, tracer, unexpected), max_request_time=0.0)
    gateway.deploy(1, LinkWorker())
    answered: SimpleQueue[bytes | ServingError] = SimpleQueue()
    call = Call(rows([[7.0]]), lambda: gateway.deploy(2, LinkWorker()))
    call.fail = answered.put  # type: ignore[assignment,method-assign]  # to wait for it
    gateway.dataplane.infer(call, background=True)
    assert isinstance(answered.get(timeout=10), bytes)
    gateway.dataplane.stop()
