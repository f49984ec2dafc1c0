"""Batches on a GPU: copying in, computing and copying out overlap between two batches."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns

import torch

from inferd.core.link.messages import BatchDone, BatchFailed, OutputOverflow, RunBatch
from inferd.worker.devices import PinnedMemory
from inferd.worker.faults import is_device_lost, model_fault, own_fault
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.model import Value
from inferd.worker.runner.execution import Failed
from inferd.worker.runner.outputs import Part, laid_out
from inferd.worker.runner.sequences import SequenceStates
from inferd.worker.runner.steps import Steps
from inferd.worker.tensors import SlotMemory


class DeviceLost(Exception):
    """The CUDA context is broken: every further call would fail, so the process has to end."""


class CudaRunner:
    """Runs a model on one GPU through three streams; under inference mode.

    Work is only queued by `launch`; the GPU reads and writes the arena, registered as pinned memory,
    by itself. `finish` waits for the last event of a batch.
    """

    # One computes while the next is copied in.
    depth = 1
    generates = False

    def __init__(self, model: LoadedModel, device: torch.device) -> None:
        self._name = model.name
        self.states = SequenceStates()
        self._run = Steps(model, self.states).run
        self._device = device
        self._copy_in = torch.cuda.Stream(device)
        self._compute = torch.cuda.Stream(device)
        self._copy_out = torch.cuda.Stream(device)
        self._pinned: dict[SlotMemory, PinnedMemory] = {}
        # Memory is cached per stream: what warming up takes is what batches find.
        torch.cuda.set_stream(self._compute)

    def launch(self, memory: SlotMemory, batch: RunBatch) -> CudaExecution | Failed:
        """Queue the batch; returns once the model's operators are queued, not when they are done."""
        marks = _Marks(perf_counter_ns() if batch.trace is not None else 0)
        try:
            inputs = self._bring(memory, batch, marks)
        except Exception as error:
            self._settle(error)
            return Failed(batch.batch, own_fault(error, "copying a batch to the device"))
        try:
            parts, nbytes = laid_out(self._compute_on(inputs, batch, marks))
        except BaseException as error:
            self._settle(error)
            return Failed(batch.batch, model_fault(error, self._name))
        execution = CudaExecution(self, batch.batch, parts, nbytes, marks)
        execution.answer = execution.start_copy(memory, batch.output_offset, batch.output_bytes)
        return execution

    def attach(self, memory: SlotMemory) -> None:
        """Register the arena as pinned memory."""
        self._pinned[memory] = PinnedMemory(memory.address, memory.nbytes)

    def detach(self, memory: SlotMemory) -> None:
        """Take back the registration; the arena may be unmapped then."""
        torch.cuda.synchronize(self._device)
        if (pinned := self._pinned.pop(memory, None)) is not None:
            pinned.release()

    def copy_out(self, parts: list[Part], memory: SlotMemory, start: int, marks: _Marks) -> None:
        """Queue the copies of outputs to the arena behind what computes them."""
        self._copy_out.wait_event(marks.computed)
        with torch.cuda.stream(self._copy_out):
            marks.copying_out.record()
            for part in parts:
                if isinstance(part.value, torch.Tensor):
                    view = memory.view(part.datatype, part.shape, start + part.offset)
                    view.copy_(part.value, non_blocking=True)
                    if part.value.is_cuda:
                        # Its memory must not be given to the next batch while it is copied.
                        part.value.record_stream(self._copy_out)
                else:
                    memory.write(start + part.offset, part.value)
            marks.copied_out.record()

    def fault_of(self, error: BaseException, batch: int) -> BatchFailed:
        """The answer to a batch whose queued work failed; ends the process if the GPU is lost."""
        end_if_lost(error)
        return BatchFailed(batch, model_fault(error, self._name))

    def _bring(self, memory: SlotMemory, batch: RunBatch, marks: _Marks) -> list[Value | None]:
        with torch.cuda.stream(self._copy_in):
            marks.copying_in.record()
            inputs = [None if slot is None else memory.read(slot) for slot in batch.inputs]
            brought = [
                value.to(self._device, non_blocking=True)
                if isinstance(value, torch.Tensor)
                else value  # BYTES stay on the host
                for value in inputs
            ]
            marks.copied_in.record()
        for value in brought:
            if isinstance(value, torch.Tensor):
                value.record_stream(self._compute)
        return brought

    def _compute_on(
        self, inputs: list[Value | None], batch: RunBatch, marks: _Marks
    ) -> list[Value]:
        self._compute.wait_event(marks.copied_in)
        with torch.cuda.stream(self._compute):
            marks.computing.record()
            values = list(self._run(batch, inputs))
            marks.computed.record()
        return values

    def _settle(self, error: BaseException) -> None:
        """After a failed launch: nothing of it may still read the slot that is given back."""
        end_if_lost(error)
        torch.cuda.synchronize(self._device)


class CudaExecution:
    """A batch whose work is queued on the device."""

    def __init__(
        self, runner: CudaRunner, batch: int, parts: list[Part], nbytes: int, marks: _Marks
    ) -> None:
        self.batch = batch
        self.answer: OutputOverflow | BatchFailed | None = None
        self._runner = runner
        self._parts = parts
        self._bytes = nbytes
        self._marks = marks
        self._start = 0

    def start_copy(
        self, memory: SlotMemory, offset: int, nbytes: int
    ) -> OutputOverflow | BatchFailed | None:
        """Queue the copies out; None if they are queued, otherwise why not."""
        if self._bytes > nbytes:
            return OutputOverflow(self.batch, self._bytes)
        self._start = offset
        try:
            self._runner.copy_out(self._parts, memory, offset, self._marks)
        except Exception as error:
            end_if_lost(error)
            torch.cuda.synchronize()
            return BatchFailed(self.batch, own_fault(error, "copying the outputs of a batch"))
        return None

    def finish(self) -> BatchDone | OutputOverflow | BatchFailed:
        """Wait until the outputs are in the arena, or for what kept them from it."""
        marks = self._marks
        last = marks.copied_out if self.answer is None else marks.computed
        try:
            last.synchronize()
        except Exception as error:
            return self._runner.fault_of(error, self.batch)
        if self.answer is not None:
            return self.answer
        slots = tuple([part.slot(self._start) for part in self._parts])
        self._parts = []
        return BatchDone(self.batch, slots, *marks.times(), marks.began())

    def place(
        self, memory: SlotMemory, offset: int, nbytes: int
    ) -> BatchDone | OutputOverflow | BatchFailed:
        """Copy the outputs that overflowed, now that there is room."""
        self.answer = self.start_copy(memory, offset, nbytes)
        return self.finish()


def _timed() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


@dataclass(slots=True)
class _Marks:
    """Events around each step of a batch; `launched` is when it was, if that is to be told."""

    launched: int

    copying_in: torch.cuda.Event
    copied_in: torch.cuda.Event
    computing: torch.cuda.Event
    computed: torch.cuda.Event
    copying_out: torch.cuda.Event
    copied_out: torch.cuda.Event

    def __init__(self, launched: int) -> None:
        self.launched = launched
        self.copying_in, self.copied_in = _timed(), _timed()
        self.computing, self.computed = _timed(), _timed()
        self.copying_out, self.copied_out = _timed(), _timed()

    def times(self) -> tuple[int, int, int]:
        """Nanoseconds of copying in, computing and copying out; all events have passed."""
        return (
            _ns(self.copying_in, self.copied_in),
            _ns(self.computing, self.computed),
            _ns(self.copying_out, self.copied_out),
        )

    def began(self) -> tuple[int, int, int] | None:
        """When each step did, by the host's clock, as if the device had been free at the launch."""
        start = self.launched
        if not start:
            return None
        computing = start + _ns(self.copying_in, self.computing)
        return (start, computing, start + _ns(self.copying_in, self.copying_out))


def _ns(start: torch.cuda.Event, end: torch.cuda.Event) -> int:
    milliseconds: float = start.elapsed_time(end)
    return round(milliseconds * 1e6)


def end_if_lost(error: BaseException) -> None:
    """Raise `DeviceLost` if only a new process can use the device again."""
    if is_device_lost(error):
        raise DeviceLost("the CUDA context is broken") from error
