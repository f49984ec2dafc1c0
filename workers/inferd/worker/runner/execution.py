"""One batch between its start and its answer, the same for every kind of device."""

from __future__ import annotations

from typing import Protocol

from inferd.core.link.messages import (
    BatchAnswer,
    BatchDone,
    BatchFailed,
    Fault,
    OutputOverflow,
    RunBatch,
)
from inferd.worker.tensors import SlotMemory


class Execution(Protocol):
    """A batch that was started."""

    batch: int

    def finish(self) -> BatchDone | BatchAnswer | OutputOverflow | BatchFailed:
        """Wait for it; what to tell the gateway.

        After `OutputOverflow` the outputs are kept until `place` finds room for them. After
        `BatchAnswer`, which generators alone give, it is to be called again.
        """
        ...

    def place(
        self, memory: SlotMemory, offset: int, nbytes: int
    ) -> BatchDone | BatchAnswer | OutputOverflow | BatchFailed:
        """Write the outputs that overflowed to `nbytes` bytes from `offset` on."""
        ...


class Runner(Protocol):
    """Runs batches on one device. Never raises what a model raised: a batch fails instead."""

    depth: int
    """Batches that may be under way while the next one is looked for."""

    generates: bool
    """Whether a batch is a generator, whose steps `finish` takes, instead of work on its way."""

    def launch(self, memory: SlotMemory, batch: RunBatch) -> Execution:
        """Start a batch whose slots lie in `memory`."""
        ...

    def attach(self, memory: SlotMemory) -> None:
        """Get an arena ready for copies from and to the device."""
        ...

    def detach(self, memory: SlotMemory) -> None:
        """The arena is about to go; nothing under way uses it."""
        ...


class Failed:
    """A batch that is over before it began to run, or that failed while it ran."""

    __slots__ = ("_fault", "batch")

    def __init__(self, batch: int, fault: Fault) -> None:
        self.batch = batch
        self._fault = fault

    def finish(self) -> BatchFailed:
        """The fault."""
        return BatchFailed(self.batch, self._fault)

    def place(self, memory: SlotMemory, offset: int, nbytes: int) -> BatchFailed:
        """The fault; there is nothing to place."""
        return self.finish()
