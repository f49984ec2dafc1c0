"""A worker's end of a link whose model yields: a Python generator function for a model.

Tests of the gateway decide with it what comes when, and see which generators were closed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator

from inferd.core.link.arena import aligned
from inferd.core.link.messages import (
    AdvanceBatch,
    BatchAnswer,
    BatchDone,
    BatchFailed,
    CloseBatch,
    Fault,
    OutputOverflow,
    ParameterValue,
    RunBatch,
    SlotTensor,
)
from support.link_worker import LinkWorker, RawTensor

Yields = Generator[list[RawTensor], None, list[RawTensor] | None]
Generate = Callable[[RawTensor, dict[str, ParameterValue]], Yields]


def count(x: RawTensor, parameters: dict[str, ParameterValue]) -> Yields:
    """Gives `x` back `times` times; with `last` it returns it once more; `fail` raises after all."""
    for _ in range(int(parameters.get("times", 1))):
        yield [x]
    if parameters.get("fail"):
        raise ValueError("no such luck")
    return [x] if parameters.get("last") else None


class GeneratingWorker(LinkWorker):
    """Answers requests of one input with what `generate` yields.

    `advanced` counts how often generators were advanced; `closed` hears the batches that were closed.
    Clearing `go` holds every step until it is set again. A step that is not the last takes `step_ns`
    in the model and one nanosecond to copy out.
    """

    def __init__(self, generate: Generate = count) -> None:
        self._generate = generate
        self._generators: dict[int, Yields] = {}
        self._rooms: dict[int, tuple[int, int, int]] = {}
        self._steps: dict[int, int] = {}
        self.step_ns = 10
        self.advanced = 0
        self.stepped = threading.Semaphore(0)
        self.closed: queue.SimpleQueue[int] = queue.SimpleQueue()
        super().__init__()

    @property
    def running(self) -> int:
        """Generators that have not ended."""
        return len(self._generators)

    def _execute(self, message: RunBatch) -> None:
        (given,) = message.inputs
        assert given is not None
        cells = self._arenas[message.arena].cells
        raw = bytes(cells[given.offset : given.offset + given.nbytes])
        x = RawTensor(given.datatype, given.shape, raw)
        self._generators[message.batch] = self._generate(x, message.parameters or {})
        self._rooms[message.batch] = (message.arena, message.output_offset, message.output_bytes)
        self.batches.append(1)
        self.arrived.release()
        self._step(message.batch)

    def _follow(self, message: object) -> None:
        if isinstance(message, AdvanceBatch):
            self._step(message.batch)
        elif isinstance(message, CloseBatch):
            generator = self._generators.pop(message.batch, None)
            if generator is not None:
                generator.close()
                self.closed.put(message.batch)
                self._socket.send(BatchDone(message.batch, (), *self.times))

    def _step(self, batch: int) -> None:
        self.go.wait()
        self.advanced += 1
        self.stepped.release()
        last = False
        try:
            outputs = next(self._generators[batch])
        except StopIteration as end:
            last, outputs = True, end.value or []
            del self._generators[batch]
        except Exception as error:  # what a model raises becomes a fault
            del self._generators[batch]
            self._socket.send(BatchFailed(batch, Fault("MODEL_ERROR", str(error))))
            return
        needed = sum(aligned(len(each.raw)) for each in outputs)
        if needed > self._rooms[batch][2]:
            assert not last, "the last answer of a test is no larger than those before"
            self._held[batch] = outputs
            self._socket.send(OutputOverflow(batch, needed))
        else:
            self._tell(batch, outputs, last=last)

    def _write(self, batch: int, outputs: list[RawTensor], arena: int, at: int) -> None:
        """The outputs that overflowed, now that there is room."""
        needed = sum(aligned(len(each.raw)) for each in outputs)
        self._rooms[batch] = (arena, at, needed)
        self._tell(batch, outputs, last=False)

    def _tell(self, batch: int, outputs: list[RawTensor], *, last: bool) -> None:
        arena, at, _ = self._rooms[batch]
        written = []
        for each in outputs:
            self._arenas[arena].cells[at : at + len(each.raw)] = each.raw
            written.append(SlotTensor(each.datatype, each.shape, at, len(each.raw)))
            at += aligned(len(each.raw))
        if last:
            self._socket.send(BatchDone(batch, tuple(written), *self.times))
        else:
            steps = self._steps[batch] = self._steps.get(batch, 0) + 1
            self._socket.send(BatchAnswer(batch, tuple(written), steps * self.step_ns, steps))
