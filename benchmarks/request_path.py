"""The gateway's parts in the order a request meets them, without a network and without threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf, prod
from time import monotonic
from typing import Protocol, Self

from scenarios import DATATYPE, INPUT, MODEL, OUTPUT, Scenario

from inferd.core.link.messages import (
    BatchDone,
    FromLinkedWorker,
    OpenArena,
    RunBatch,
    SlotTensor,
    ToLinkedWorker,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.server.gateway.admission.admission import Admission
from inferd.server.gateway.dataplane import InferRequest
from inferd.server.gateway.scheduling.instance import Completed, Instance, rows_of
from inferd.server.gateway.scheduling.queue import Queue
from inferd.wire.dtypes import ANY
from inferd.wire.errors import ServingError
from inferd.wire.requests import InferMessage
from inferd.wire.signature import Signature, TensorSpec

STEPS = (
    "parse the envelope",
    "look the plan up",
    "check and arrange the tensors",
    "queue the request",
    "form the batch",
    "place the rows, send the batch",
    "receive it in the worker",
    "send its outcome",
    "receive the outcome",
    "find the outputs",
    "assemble the answer",
    "free the slot",
)

_LARGEST = 64 << 20
_MAX_BATCH = 64


class Watch(Protocol):
    """Hears which step has just ended."""

    def restart(self) -> None:
        """The first step begins."""

    def lap(self, step: str) -> None:
        """`step` has ended, the next begins."""


class RequestPath:
    """One worker's link with both ends in this process, and what stands before it.

    The worker's part is the messages alone: its answer are the inputs where they lie.
    """

    def __init__(self, shape: tuple[int, ...], batch: int) -> None:
        """`batch` requests with one tensor of `shape` each, one row per request."""
        spec = TensorSpec(INPUT, ANY, None), TensorSpec(OUTPUT, ANY, None)
        signature = Signature((spec[0],), (spec[1],), max_batch_size=_MAX_BATCH)
        self._payload = Scenario("", "", shape, 1, 1).request()
        self._shape = shape
        self._batch = batch
        self._row_nbytes = 4 * prod(shape)
        self._admission = Admission(MODEL, 1, signature, max_tensor_bytes=_LARGEST)
        self._queue = Queue(max_size=batch, max_delay=0.0, max_batch_bytes=_LARGEST)
        ours, theirs = socket_pair()
        link: MessageSocket[ToLinkedWorker, FromLinkedWorker] = MessageSocket(
            ours, FromLinkedWorker
        )
        self._worker: MessageSocket[FromLinkedWorker, ToLinkedWorker] = MessageSocket(
            theirs, ToLinkedWorker
        )
        self._instance = Instance(1, link, depth=1, max_arena_bytes=1 << 30)
        self._arena_is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._instance.close()
        self._worker.close()

    def run_once(self, watch: Watch) -> None:
        """Take `batch` requests from their bytes to the bytes of their answers.

        Raises `AssertionError` where an answer is not as large as it must be.
        """
        calls = [_Call(self._payload) for _ in range(self._batch)]
        watch.restart()
        messages = [InferMessage(call.payload) for call in calls]
        watch.lap("parse the envelope")
        plans = [self._admission.plan(message) for message in messages]
        watch.lap("look the plan up")
        arranged = [
            plan.arrange(message.buffers()) for plan, message in zip(plans, messages, strict=True)
        ]
        watch.lap("check and arrange the tensors")
        now = monotonic()
        for plan, buffers, call in zip(plans, arranged, calls, strict=True):
            self._queue.add(
                InferRequest(plan.lane, plan, buffers, arrived=now, deadline=inf, id="", call=call)
            )
        watch.lap("queue the request")
        batch = self._queue.take(now)
        watch.lap("form the batch")
        assert batch is not None
        self._instance.run(batch)
        watch.lap("place the rows, send the batch")
        self._answer_as_worker(watch)
        received = self._instance.receive()
        watch.lap("receive the outcome")
        assert isinstance(received, BatchDone)
        outcome = self._instance.conclude(received)
        assert isinstance(outcome, Completed)
        rows = rows_of(outcome)
        watch.lap("find the outputs")
        for piece, outputs in zip(batch.pieces, rows, strict=True):
            piece.pending.answered(outcome.layout, outputs)
        watch.lap("assemble the answer")
        self._instance.release(outcome.number)
        watch.lap("free the slot")
        assert all(len(call.answer) > self._row_nbytes for call in calls)

    def _answer_as_worker(self, watch: Watch) -> None:
        if not self._arena_is_open:
            opened, fds = self._worker.receive_with_fds()
            assert isinstance(opened, OpenArena)
            for fd in fds:
                os.close(fd)
            self._arena_is_open = True
            watch.restart()
        message = self._worker.receive()
        watch.lap("receive it in the worker")
        assert isinstance(message, RunBatch)
        taken = message.inputs[0]
        assert taken is not None
        output = SlotTensor(DATATYPE, taken.shape, taken.offset, taken.nbytes)
        self._worker.send(BatchDone(message.batch, (output,), 0, 0, 0))
        watch.lap("send its outcome")


class _Call:
    """A call without a network: the answer stays here."""

    method = ""
    metadata = ()
    deadline = inf

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.answer = b""
        self.on_cancel: Callable[[], None] | None = None

    def reply(self, payload: bytes) -> None:
        self.answer = payload

    def fail(self, error: ServingError) -> None:
        raise error
