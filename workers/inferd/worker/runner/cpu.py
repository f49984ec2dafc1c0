"""Batches on the CPU: each is over when `launch` returns."""

from __future__ import annotations

from time import perf_counter_ns

import torch

from inferd.core.link.messages import BatchDone, BatchFailed, OutputOverflow, RunBatch
from inferd.worker.faults import model_fault, own_fault
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.runner.execution import Failed
from inferd.worker.runner.outputs import Part, laid_out
from inferd.worker.runner.sequences import SequenceStates
from inferd.worker.runner.steps import Steps
from inferd.worker.tensors import SlotMemory


class CpuRunner:
    """Runs a model on views of the arena and copies its outputs back; under inference mode."""

    # A second batch under way would only make batches smaller.
    depth = 0
    generates = False

    def __init__(self, model: LoadedModel) -> None:
        self._name = model.name
        self.states = SequenceStates()
        self._run = Steps(model, self.states).run

    def launch(self, memory: SlotMemory, batch: RunBatch) -> CpuExecution | Failed:
        """Run the batch and copy its outputs, if they fit in the room it has for them."""
        started = perf_counter_ns()
        try:
            inputs = [None if slot is None else memory.read(slot) for slot in batch.inputs]
        except Exception as error:
            return Failed(batch.batch, own_fault(error, "reading a batch"))
        read = perf_counter_ns()
        try:
            parts, nbytes = laid_out(self._run(batch, inputs))
        except BaseException as error:
            return Failed(batch.batch, model_fault(error, self._name))
        ran = perf_counter_ns()
        execution = CpuExecution(batch.batch, parts, nbytes, (read - started, ran - read))
        if batch.trace is not None:
            execution.began = (started, read)
        execution.answer = execution.place(memory, batch.output_offset, batch.output_bytes)
        return execution

    def attach(self, memory: SlotMemory) -> None:
        """Nothing to do: views are made when a batch first needs them."""

    def detach(self, memory: SlotMemory) -> None:
        """Nothing to do."""


class CpuExecution:
    """A batch that the model has answered."""

    __slots__ = ("_bytes", "_parts", "_times", "answer", "batch", "began")

    answer: BatchDone | OutputOverflow | BatchFailed
    began: tuple[int, int] | None
    """When copying in and computing began, of a batch that is traced."""

    def __init__(self, batch: int, parts: list[Part], nbytes: int, times: tuple[int, int]) -> None:
        self.batch = batch
        self._parts = parts
        self._bytes = nbytes
        self._times = times
        self.began = None

    def finish(self) -> BatchDone | OutputOverflow | BatchFailed:
        """What became of it."""
        return self.answer

    def place(
        self, memory: SlotMemory, offset: int, nbytes: int
    ) -> BatchDone | OutputOverflow | BatchFailed:
        """Copy the outputs to `offset`, unless they need more than `nbytes` bytes."""
        if self._bytes > nbytes:
            return OutputOverflow(self.batch, self._bytes)
        started = perf_counter_ns()
        try:
            write(self._parts, memory, offset)
        except Exception as error:
            return BatchFailed(self.batch, own_fault(error, "writing the outputs of a batch"))
        slots = tuple([part.slot(offset) for part in self._parts])
        began = None if self.began is None else (*self.began, started)
        return BatchDone(self.batch, slots, *self._times, perf_counter_ns() - started, began)


def write(parts: list[Part], memory: SlotMemory, start: int) -> None:
    """Copy outputs into the arena; the caller has seen that there is room from `start` on."""
    for part in parts:
        if isinstance(part.value, torch.Tensor):
            memory.view(part.datatype, part.shape, start + part.offset).copy_(part.value)
        else:
            memory.write(start + part.offset, part.value)
