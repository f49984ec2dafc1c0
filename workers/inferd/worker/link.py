"""A worker's end of the link to one gateway: its socket, its arenas, its unfinished batches."""

from __future__ import annotations

import os
from collections.abc import Sequence

from inferd.core.link.messages import (
    AdvanceBatch,
    BatchAnswer,
    BatchFailed,
    CloseArena,
    CloseBatch,
    DropBatch,
    FromLinkedWorker,
    GrantOutput,
    OpenArena,
    OutputOverflow,
    RunBatch,
    ToLinkedWorker,
)
from inferd.core.link.sockets import MessageSocket, adopt
from inferd.worker.faults import own_fault
from inferd.worker.runner.execution import Execution, Failed, Runner
from inferd.worker.runner.generator import Generation
from inferd.worker.tensors import SlotMemory


class Link:
    """Answers one gateway. Its methods raise `PeerGone` once the gateway has gone."""

    def __init__(self, fd: int, runner: Runner) -> None:
        self._socket: MessageSocket[FromLinkedWorker, ToLinkedWorker]
        self._socket = MessageSocket(adopt(fd), ToLinkedWorker)
        self._runner = runner
        self._memories: dict[int, SlotMemory] = {}
        self._held: dict[int, Execution] = {}
        self._generations: dict[int, Generation] = {}

    def fileno(self) -> int:
        """The socket's descriptor, for epoll."""
        return self._socket.fileno()

    def receive(self) -> tuple[ToLinkedWorker, Sequence[int]]:
        """The next message and the descriptors beside it."""
        return self._socket.receive_with_fds()

    def launch(self, batch: RunBatch) -> Execution:
        """Start a batch."""
        memory = self._memories.get(batch.arena)
        if memory is None:
            unknown = LookupError(f"arena {batch.arena} is not open")
            return Failed(batch.batch, own_fault(unknown, "looking for a batch"))
        execution = self._runner.launch(memory, batch)
        if isinstance(execution, Generation):
            self._generations[batch.batch] = execution
        return execution

    def advance(self, message: AdvanceBatch) -> Generation | None:
        """The generator whose turn it is to be again, unless it has ended."""
        return self._generations.get(message.batch)

    def finish(self, execution: Execution) -> None:
        """Wait for a batch and answer; hold it if its outputs did not fit."""
        if not (isinstance(execution, Generation) and execution.closed):
            self._answer(execution, execution.finish())

    def settle(
        self,
        message: OpenArena | CloseArena | GrantOutput | DropBatch | CloseBatch,
        fds: Sequence[int],
    ) -> None:
        """Everything that is no new batch. None may be under way when an arena is closed."""
        if isinstance(message, GrantOutput):
            self._grant(message)
        elif isinstance(message, CloseBatch):
            self._close_batch(message)
        elif isinstance(message, DropBatch):
            self._held.pop(message.batch, None)
        elif isinstance(message, OpenArena):
            self._open(message, fds)
        elif (memory := self._memories.pop(message.arena, None)) is not None:
            self._unmap(memory)

    def close(self) -> None:
        """Let go of everything. No batch may be under way; generators are closed."""
        for generation in self._generations.values():
            generation.close()
        self._generations.clear()
        self._held.clear()
        for memory in self._memories.values():
            self._unmap(memory)
        self._memories.clear()
        self._socket.close()

    def _answer(self, execution: Execution, answer: FromLinkedWorker) -> None:
        if isinstance(answer, OutputOverflow):
            self._held[execution.batch] = execution
        elif self._generations and not isinstance(answer, BatchAnswer):
            self._generations.pop(execution.batch, None)
        self._socket.send(answer)

    def _close_batch(self, message: CloseBatch) -> None:
        generation = self._generations.pop(message.batch, None)
        self._held.pop(message.batch, None)
        if generation is not None:
            self._socket.send(generation.close())

    def _grant(self, grant: GrantOutput) -> None:
        execution = self._held.pop(grant.batch, None)
        memory = self._memories.get(grant.arena)
        if execution is None or memory is None:
            unknown = LookupError(f"batch {grant.batch} or arena {grant.arena} is not known")
            fault = own_fault(unknown, "looking for a batch")
            self._socket.send(BatchFailed(grant.batch, fault))
            return
        self._answer(execution, execution.place(memory, grant.output_offset, grant.output_bytes))

    def _open(self, message: OpenArena, fds: Sequence[int]) -> None:
        try:
            if len(fds) != 1:
                raise ValueError(f"an arena comes with one descriptor, not with {len(fds)}")
            memory = SlotMemory(fds[0], message.nbytes)
        finally:
            for fd in fds:
                os.close(fd)
        self._runner.attach(memory)
        self._memories[message.arena] = memory

    def _unmap(self, memory: SlotMemory) -> None:
        self._runner.detach(memory)
        memory.close()
