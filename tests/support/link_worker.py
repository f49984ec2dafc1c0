"""A worker's end of a link, in a thread: real messages and arenas, a Python function for a model.

Tests of the gateway decide with it when a batch ends and what comes out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns

from inferd.core.link.arena import ArenaMapping, aligned
from inferd.core.link.messages import (
    BatchDone,
    BatchFailed,
    CloseArena,
    DropBatch,
    DropSequence,
    Fault,
    GrantOutput,
    OpenArena,
    OutputOverflow,
    ParameterValue,
    RunBatch,
    SequenceStep,
    SlotTensor,
    ToLinkedWorker,
)
from inferd.core.link.sockets import MessageSocket, PeerGone, socket_pair
from inferd.server.gateway.scheduling.instance import Link


@dataclass(frozen=True)
class RawTensor:
    """A tensor as the protocol carries it."""

    datatype: str
    shape: tuple[int, ...]
    raw: bytes


Function = Callable[[list[RawTensor | None], dict[str, ParameterValue] | None], list[RawTensor]]


def identity(
    inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
) -> list[RawTensor]:
    """Give back what came, without the inputs left out."""
    return [each for each in inputs if each is not None]


class LinkWorker:
    """Answers batches with `function`; `batches` lists the rows of each execution.

    `messages` lists those of each message: several executions may be asked for in one.
    Clearing `go` holds every batch until it is set again. `times` are the nanoseconds it reports.
    """

    def __init__(self, function: Function = identity) -> None:
        ours, theirs = socket_pair()
        self.gateway_end = theirs
        self.go = threading.Event()
        self.go.set()
        self.arrived = threading.Semaphore(0)
        self.batches: list[int] = []
        self.messages: list[int] = []
        self.steps: list[SequenceStep | None] = []
        self.dropped: list[int] = []
        """Sequences that it was told of and told to forget."""
        self.times = (1_000, 2_000, 3_000)
        self.traces: list[bytes | None] = []
        self._function = function
        self._socket: MessageSocket[object, ToLinkedWorker] = MessageSocket(ours, ToLinkedWorker)
        self._arenas: dict[int, ArenaMapping] = {}
        self._held: dict[int, list[RawTensor]] = {}
        self._began = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def die(self) -> None:
        """Close the link as a killed process does; batches in hand are never answered."""
        self._socket.hang_up()
        self.go.set()
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        try:
            while True:
                message, fds = self._socket.receive_with_fds()
                match message:
                    case OpenArena(arena, nbytes):
                        self._arenas[arena] = ArenaMapping(fds[0], nbytes)
                    case CloseArena(arena):
                        self._arenas.pop(arena).close()
                    case RunBatch():
                        self._execute(message)
                    case GrantOutput(batch, arena, offset, _):
                        self._write(batch, self._held.pop(batch), arena, offset)
                    case DropBatch() | DropSequence():
                        self._forget(message)
                    case _:
                        self._follow(message)
                for fd in fds:
                    os.close(fd)
        except (PeerGone, OSError):
            for mapping in self._arenas.values():
                mapping.close()
            self._socket.close()

    def _follow(self, message: object) -> None:
        raise AssertionError(f"no message for this worker: {message}")

    def _forget(self, message: DropBatch | DropSequence) -> None:
        if isinstance(message, DropSequence):
            self.dropped.append(message.number)
        else:
            del self._held[message.batch]

    def _execute(self, message: RunBatch) -> None:
        cells = self._arenas[message.arena].cells
        inputs = [
            None
            if each is None
            else RawTensor(
                each.datatype, each.shape, bytes(cells[each.offset : each.offset + each.nbytes])
            )
            for each in message.inputs
        ]
        first = next(each for each in inputs if each is not None)
        rows = first.shape[0] if first.shape else 1
        self.messages.append(rows)
        step = message.step or max(rows, 1)
        self.batches += [min(step, rows - at) for at in range(0, rows, step)] or [0]
        self.steps.append(message.sequence)
        self.traces.append(message.trace)
        self._began = perf_counter_ns()
        self.arrived.release()
        self.go.wait()
        try:
            outputs = self._function(inputs, message.parameters)
        except Exception as error:  # what a model raises becomes a fault
            self._socket.send(BatchFailed(message.batch, Fault("MODEL_ERROR", str(error))))
            return
        needed = sum(aligned(len(each.raw)) for each in outputs)
        if needed > message.output_bytes:
            self._held[message.batch] = outputs
            self._socket.send(OutputOverflow(message.batch, needed))
        else:
            self._write(message.batch, outputs, message.arena, message.output_offset)

    def _write(self, batch: int, outputs: list[RawTensor], arena: int, at: int) -> None:
        cells = self._arenas[arena].cells
        written = []
        for each in outputs:
            cells[at : at + len(each.raw)] = each.raw
            written.append(SlotTensor(each.datatype, each.shape, at, len(each.raw)))
            at += aligned(len(each.raw))
        began = None
        if self.traces[-1] is not None:
            into, compute, _ = self.times
            began = (self._began, self._began + into, self._began + into + compute)
        self._socket.send(BatchDone(batch, tuple(written), *self.times, began))


@dataclass
class Answer:
    """What a call got; `done` is set with it."""

    payload: bytes | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


def link_to(worker: LinkWorker) -> Link:
    """The gateway's end of a worker's link."""
    from inferd.core.link.messages import FromLinkedWorker

    return MessageSocket(worker.gateway_end, FromLinkedWorker)
