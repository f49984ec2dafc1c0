"""Generators: requests answered step by step, many of them side by side."""

from __future__ import annotations

import sys
from time import perf_counter_ns

import torch

from inferd.core.link.messages import (
    BatchAnswer,
    BatchDone,
    BatchFailed,
    OutputOverflow,
    RunBatch,
    SlotTensor,
)
from inferd.core.telemetry import logs
from inferd.worker.faults import model_fault, own_fault
from inferd.worker.loader.loaded import Answers, LoadedModel
from inferd.worker.model import Value
from inferd.worker.runner.cpu import write
from inferd.worker.runner.cuda import end_if_lost
from inferd.worker.runner.execution import Failed
from inferd.worker.runner.outputs import OutputCheck, Part, Shapes, laid_out
from inferd.worker.runner.sequences import SequenceStates
from inferd.worker.runner.trace import current
from inferd.worker.tensors import SlotMemory

_log = logs.get_logger(__name__)


class GeneratorRunner:
    """Starts a model's generators, on any device; under inference mode.

    Nothing is queued on a device: a step is over when it returns, and its outputs are in the arena.
    """

    depth = sys.maxsize
    generates = True

    def __init__(self, model: LoadedModel, device: torch.device) -> None:
        if model.generate is None:
            raise ValueError(f"model '{model.name}' is no generator")
        self.name = model.name
        self.check = OutputCheck(model.name, model.signature).check
        self._generate = model.generate
        self.states = SequenceStates()  # none: a generator belongs to one request
        self._device = device

    def launch(self, memory: SlotMemory, batch: RunBatch) -> Generation | Failed:
        """Make the generator of a request; it takes no step yet."""
        started = perf_counter_ns()
        try:
            inputs = [None if slot is None else self._bring(memory, slot) for slot in batch.inputs]
        except Exception as error:
            end_if_lost(error)
            return Failed(batch.batch, own_fault(error, "reading a request"))
        shapes = tuple([None if slot is None else slot.shape for slot in batch.inputs])
        answers = self._generate(inputs, batch.parameters)
        return Generation(self, memory, batch, answers, shapes, perf_counter_ns() - started)

    def attach(self, memory: SlotMemory) -> None:
        """Nothing to do."""

    def detach(self, memory: SlotMemory) -> None:
        """Nothing to do."""

    def _bring(self, memory: SlotMemory, slot: SlotTensor) -> Value:
        value = memory.read(slot)
        return value.to(self._device) if isinstance(value, torch.Tensor) else value


class Generation:
    """One request: its generator, and the room in the arena that each of its answers goes to."""

    def __init__(  # noqa: PLR0917  # one caller, beside it
        self,
        runner: GeneratorRunner,
        memory: SlotMemory,
        batch: RunBatch,
        answers: Answers,
        shapes: Shapes,
        input_ns: int,
    ) -> None:
        self.batch = batch.batch
        self.closed = False
        self._runner = runner
        self._answers = answers
        self._shapes = shapes
        self._memory = memory
        self._offset, self._room = batch.output_offset, batch.output_bytes
        self._input_ns, self._infer_ns, self._output_ns = input_ns, 0, 0
        self._trace = batch.trace
        self._computing = perf_counter_ns()
        self._writing = 0
        self._parts: list[Part] = []
        self._last = False

    def finish(self) -> BatchDone | BatchAnswer | OutputOverflow | BatchFailed:
        """Take one step, however long it lasts; what came of it."""
        started = perf_counter_ns()
        current.ids = self._trace
        try:
            values = self._step()
            parts, nbytes = laid_out(values)
        except BaseException as error:  # a model may raise anything
            end_if_lost(error)
            self.close()
            return BatchFailed(self.batch, model_fault(error, self._runner.name))
        finally:
            self._infer_ns += perf_counter_ns() - started
        self._parts = parts
        if nbytes > self._room:
            return OutputOverflow(self.batch, nbytes)
        return self._write()

    def place(
        self, memory: SlotMemory, offset: int, nbytes: int
    ) -> BatchDone | BatchAnswer | OutputOverflow | BatchFailed:
        """Write the answer that overflowed; those to come have this room as well."""
        self._memory, self._offset, self._room = memory, offset, nbytes
        return self._write()

    def close(self) -> BatchDone:
        """End the generator wherever it stands; what to tell the gateway."""
        self.closed = True
        self._parts = []
        started = perf_counter_ns()
        try:
            self._answers.close()
        except BaseException as error:  # its own cleaning up may raise anything
            end_if_lost(error)
            _log.warning("a generator did not close well", model=self._runner.name, exc_info=error)
        self._infer_ns += perf_counter_ns() - started
        return self._done(())

    def _step(self) -> list[Value]:
        """The values of the next answer; none where the generator has ended without one."""
        try:
            values = list(next(self._answers))
        except StopIteration as end:
            self._last = True
            if end.value is None:
                return []
            values = list(end.value)
        self._runner.check(values, self._shapes)
        return values

    def _write(self) -> BatchDone | BatchAnswer | BatchFailed:
        started = self._writing = perf_counter_ns()
        try:
            write(self._parts, self._memory, self._offset)
        except Exception as error:
            end_if_lost(error)
            self.close()
            return BatchFailed(self.batch, own_fault(error, "writing an answer"))
        slots = tuple([part.slot(self._offset) for part in self._parts])
        self._parts = []
        self._output_ns += perf_counter_ns() - started
        if self._last:
            self.closed = True
            return self._done(slots)
        return BatchAnswer(self.batch, slots, self._infer_ns, self._output_ns)

    def _done(self, outputs: tuple[SlotTensor, ...]) -> BatchDone:
        began = None
        if self._trace is not None:
            copying = self._computing - self._input_ns
            began = (copying, self._computing, self._writing or perf_counter_ns())
        return BatchDone(
            self.batch, outputs, self._input_ns, self._infer_ns, self._output_ns, began
        )
