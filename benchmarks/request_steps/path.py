"""A request's way through the gateway's and the worker's own parts, in one process and one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Protocol, Self

import torch

from inferd.core.link.messages import (
    BatchDone,
    FromLinkedWorker,
    RunBatch,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.admission.forms import Forms
from inferd.server.gateway.dataplane import InferRequest
from inferd.server.gateway.scheduling.deployment import Tally
from inferd.server.gateway.scheduling.instance import Completed, Instance, rows_of
from inferd.server.gateway.scheduling.queue import Queue
from inferd.server.gateway.scheduling.statistics import Statistics
from inferd.wire.errors import ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.link import Link
from inferd.worker.loader.loaded import LoadedModel, Parameters
from inferd.worker.model import Value
from inferd.worker.runner.cpu import CpuRunner

_LARGEST = 64 << 20
_MAX_BATCH = 64


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
        self._forms: Forms[object] = Forms()
        self._queue = Queue(max_size=batch, max_delay=0.0, max_batch_bytes=_LARGEST)
        self._statistics = Statistics()
        ours, theirs = socket_pair()
        self._instance = Instance(
            1, MessageSocket(ours, FromLinkedWorker), depth=1, max_arena_bytes=1 << 30
        )
        self._worker = Link(theirs.detach(), CpuRunner(_identity(signature)))
        message = InferMessage(self._payload)
        self._plan = self._admission.plan(message)
        self._forms.remember(self._payload, self._plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._instance.close()
        self._worker.close()

    def run_once(self, watch: Watch) -> None:
        """Take `batch` requests from their bytes to the bytes of their answers.

        Raises `AssertionError` where an answer is not as large as it must be.
        """
        calls = [Call(self._payload) for _ in range(self._batch)]
        self._read_as_new(watch)
        watch.restart()
        found = [self._forms.find(call.payload) for call in calls]
        watch.lap("recognise its form")
        plan = self._plan
        arranged = [plan.arrange(each[1]) for each in found if each is not None]
        watch.lap("check sizes and values")
        requests = [
            InferRequest(plan.lane, plan, buffers, nbytes, 0.0, inf, "", call)
            for (buffers, nbytes), call in zip(arranged, calls, strict=True)
        ]
        watch.lap("make a request of it")
        for request in requests:
            self._queue.add(request)
        watch.lap("queue it")
        batch = self._queue.take(1.0)
        watch.lap("form the batch")
        assert batch is not None
        self._instance.run(batch)
        watch.lap("write the slot, send the batch")
        self._work(watch)
        received = self._instance.receive()
        watch.lap("receive the outcome")
        assert isinstance(received, BatchDone)
        outcome = self._instance.conclude(received)
        assert isinstance(outcome, Completed), outcome
        rows = rows_of(outcome)
        watch.lap("read the slot")
        tally = Tally()
        for piece, outputs in zip(batch.pieces, rows, strict=True):
            piece.pending.answered(outcome.layout, outputs)
        watch.lap("assemble the answer")
        for piece in batch.pieces:
            pending = piece.pending
            pending.settled = True
            tally.requests += 1
            tally.total += 1.0 - pending.arrived
            tally.queued += pending.taken - pending.arrived
        self._statistics.executed(batch.rows, outcome.durations, 0)
        tally.add_to(self._statistics, outcome.durations)
        watch.lap("count it")
        self._instance.release(outcome.number)
        watch.lap("free the slot")
        assert all(len(call.answer) > self._row_nbytes for call in calls)

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


class Call:
    """A call without a network: the answer stays here."""

    method = ""
    metadata = ()
    deadline = inf

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.answer = b""

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Nobody goes away."""

    def reply(self, payload: bytes) -> None:
        """Keep the answer."""
        self.answer = payload

    def fail(self, error: ServingError) -> None:
        """There is nothing to fail here."""
        raise error


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
