"""A request's way through the gateway's and the worker's own parts, in one process and one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from time import monotonic, time
from typing import Protocol, Self

import torch

from inferd.core.link.messages import (
    AdvanceBatch,
    BatchDone,
    FromLinkedWorker,
    RunBatch,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.admission.forms import Forms
from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.infer_request import InferRequest
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.server.gateway.scheduling.dispatcher import Dispatcher
from inferd.server.gateway.scheduling.instance import Completed, Instance, Link
from inferd.server.gateway.scheduling.queue import Batch
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.server.gateway.scheduling.tally import Tally
from inferd.wire.errors import ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import Buffer
from inferd.worker.link import Link as WorkerLink
from inferd.worker.loader.loaded import LoadedModel, Parameters
from inferd.worker.model import Value
from inferd.worker.runner.cpu import CpuRunner

_LARGEST = 64 << 20
_MAX_BATCH = 64
_MAX_REQUEST_TIME = 60.0


class Watch(Protocol):
    """Hears which step has just ended."""

    def restart(self) -> None:
        """The first step begins."""

    def lap(self, step: str) -> None:
        """`step` has ended, the next begins."""

    def told(self, step: str, nanoseconds: int) -> None:
        """`step` lasted so long, inside of another one."""


class RequestPath:
    """One worker's link with both ends in this process, and what stands before and behind it.

    The model is the identity, one FP32 tensor in and out, executed as a worker executes it.
    """

    def __init__(self, row: tuple[int, ...], batch: int) -> None:
        """`batch` requests of one row each."""
        dims: tuple[int | Axis, ...] = (Axis("batch", 1, _MAX_BATCH), *row)
        signature = Signature(
            (TensorSpec("input", "FP32", dims),), (TensorSpec("output", "FP32", dims),), _MAX_BATCH
        )
        self._payload = _request(row)
        self._batch = batch
        self._row_nbytes = 4 * prod(row)
        self._admission = Admission("m", 1, signature, max_tensor_bytes=_LARGEST)
        self._deployment = _Steps(
            DeploymentInfo(1, "m", 1, "pytorch_export", signature, False, batch, 0.0, ()),  # noqa: FBT003 - takes no parameters
            Statistics(),
            max_batch_bytes=_LARGEST,
            now=monotonic,
            epoch_ms=lambda: int(time() * 1000),
        )
        ours, theirs = socket_pair()
        link: Link = MessageSocket(ours, FromLinkedWorker)
        self._instance = _SteppedInstance(1, link, depth=1, max_arena_bytes=1 << 30)
        self._instance.deployment = self._deployment
        self._worker = WorkerLink(theirs.detach(), CpuRunner(_identity(signature)))
        # Its thread is not started: what it does is done here.
        self._dispatcher = Dispatcher(
            now=monotonic, drained=_nothing, lost=_nothing, changed=lambda: None
        )
        self._dispatcher.lull.idle = False  # with a loaded door: the next batch is held for it
        self._dispatcher.add(self._deployment)
        self._dispatcher.attach(self._deployment, self._instance)
        self._forms: Forms[tuple[Deployment, Plan]] = Forms()
        plan = self._admission.plan(InferMessage(self._payload))
        self._forms.remember(self._payload, (self._deployment, plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dispatcher.start()  # only what was started can be stopped; it closes the link
        self._dispatcher.stop()
        self._worker.close()

    def run_once(self, watch: Watch) -> None:
        """Take `batch` requests from their bytes to the bytes of their answers.

        Raises `AssertionError` where an answer is not as large as it must be.
        """
        calls = [Call(self._payload) for _ in range(self._batch)]
        self._read_as_new(watch)
        watch.restart()
        recognised = [self._recognise(call) for call in calls]
        watch.lap("recognise its form")
        arranged = [plan.arrange(buffers) for plan, buffers, _, _ in recognised]
        watch.lap("check sizes and values")
        self._deployment.watch = watch
        if self._batch > 1:
            self._deployment.hold()
        for call, (plan, _, arrived, deadline), (buffers, nbytes) in zip(
            calls, recognised, arranged, strict=True
        ):
            request = InferRequest(plan.lane, plan, buffers, nbytes, arrived, deadline, "", call)
            self._dispatcher.submit(self._deployment, request)
        if self._deployment.held:
            self._dispatcher.lull.reached()  # as the door tells when it has read all
        self._work(watch)
        self._dispatcher._serve(self._deployment, self._instance)  # noqa: SLF001 - what its thread does
        self._deployment.unanswered()  # and this when it looks after callers
        watch.lap("count it and free the slot")
        assert all(len(call.answer) > self._row_nbytes for call in calls)

    def _recognise(self, call: Call) -> tuple[Plan, Sequence[Buffer], float, float]:
        """What `Dataplane` does with a form it knows."""
        arrived = monotonic()
        found = self._forms.find(call.payload)
        assert found is not None
        (_, plan), buffers = found
        return plan, buffers, arrived, min(call.deadline, arrived + _MAX_REQUEST_TIME)

    def _read_as_new(self, watch: Watch) -> None:
        """What the first request of a form costs instead of recognising it."""
        watch.restart()
        messages = [InferMessage(self._payload) for _ in range(self._batch)]
        watch.lap("parse it (a form not seen before)")
        for message in messages:
            self._admission.plan(message)
            message.buffers()
        watch.lap("find its plan (a form not seen before)")
        watch.restart()

    def _work(self, watch: Watch) -> None:
        while True:
            message, fds = self._worker.receive()
            if isinstance(message, RunBatch):
                break
            assert not isinstance(message, AdvanceBatch)
            self._worker.settle(message, fds)
            watch.restart()
        watch.lap("receive it in the worker")
        with torch.inference_mode():
            execution = self._worker.launch(message)
        answer = execution.finish()
        watch.lap("run the batch")
        assert isinstance(answer, BatchDone)
        watch.told("of which: the model", answer.infer_ns)
        self._worker.finish(execution)
        watch.lap("send the outcome")


class _Steps(Deployment):
    """A deployment that tells the watch where one step ends and the next begins."""

    watch: Watch

    def hold(self) -> None:
        """What is submitted now goes together: requests of a burst are held, however long a pass takes."""
        self._hold.until = inf

    def dispatch(self) -> None:
        """A request that was submitted goes on; after a batch there is nothing to do."""
        if self.waiting:
            self.watch.lap("admit and queue it")
        super().dispatch()

    def settle(self, outcome: Completed) -> Tally:
        """The outcome is there, and is answered."""
        self.watch.lap("receive the outcome")
        tally = super().settle(outcome)
        self.watch.lap("read the slot, send the answer")
        return tally


class _SteppedInstance(Instance):
    """An instance of such a deployment."""

    deployment: _Steps

    def run(self, batch: Batch) -> None:
        """The batch is formed, and is sent."""
        self.deployment.watch.lap("form the batch")
        super().run(batch)
        self.deployment.watch.lap("write the slot, send the batch")


class Call:
    """A call without a network: the answer stays here."""

    method = "/inference.GRPCInferenceService/ModelInfer"
    deadline = inf

    def __init__(self, payload: bytes, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.payload = payload
        self.metadata = metadata
        self.answer = b""

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Nobody goes away."""

    def reply(self, payload: bytes) -> None:
        """Keep the answer."""
        self.answer = payload

    def fail(self, error: ServingError) -> None:
        """There is nothing to fail here."""
        raise error


def _nothing(_: int) -> None:
    """Nobody is told."""


def _request(row: tuple[int, ...]) -> bytes:
    message = ModelInferRequest(model_name="m")
    message.inputs.add(name="input", datatype="FP32", shape=(1, *row))
    message.raw_input_contents.append(bytes(4 * prod(row)))
    return message.SerializeToString()


def _identity(signature: Signature) -> LoadedModel:
    def execute(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        (x,) = inputs
        assert isinstance(x, torch.Tensor)
        return [x]

    return LoadedModel("m", "pytorch_export", signature, takes_parameters=False, execute=execute)
