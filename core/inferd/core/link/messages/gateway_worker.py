"""Between a gateway and a worker: the link that carries batches."""

from __future__ import annotations

import msgspec

from inferd.core.link.messages.message import Fault, Message, ParameterValue

# --- gateway → worker (a link) -------------------------------------------------------------


class SlotTensor(msgspec.Struct, frozen=True, array_like=True):
    """A tensor in an arena: raw bytes as in the protocol, row-major, from `offset` on."""

    datatype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class OpenArena(Message, frozen=True):
    """Map one more arena; its descriptor comes with this message."""

    arena: int
    nbytes: int


class CloseArena(Message, frozen=True):
    """Unmap an arena; no batch uses it any more."""

    arena: int


class SequenceStep(msgspec.Struct, frozen=True, array_like=True):
    """One request of a sequence: its state is new at the `start` and forgotten after the `end`.

    `number` tells the sequences of a link apart, `id` is the caller's name for it.
    """

    number: int
    id: int | str
    start: bool
    end: bool


class RunBatch(Message, frozen=True):
    """Run the model: once, or on `step` rows after another where that is not 0.

    `inputs` follow the signature's order, None for an optional one that was left out. The worker
    may write its outputs into `output_bytes` bytes from `output_offset` on, 64-byte aligned each.
    `trace` are the ids of trace (16 bytes) and span (8) of a batch that is traced.
    """

    batch: int
    arena: int
    inputs: tuple[SlotTensor | None, ...]
    output_offset: int
    output_bytes: int
    parameters: dict[str, ParameterValue] | None = None
    step: int = 0
    sequence: SequenceStep | None = None
    trace: bytes | None = None


class GrantOutput(Message, frozen=True):
    """Room for the outputs that did not fit: write them here and report the batch done."""

    batch: int
    arena: int
    output_offset: int
    output_bytes: int


class DropBatch(Message, frozen=True):
    """There is no room for the outputs: forget the batch, send nothing."""

    batch: int


class AdvanceBatch(Message, frozen=True):
    """The last answer of a generator is read: its room may be written again, take its next step."""

    batch: int


class CloseBatch(Message, frozen=True):
    """Nobody wants more answers of a generator: close it and report the batch done.

    One that has ended already has said so; then this says nothing new.
    """

    batch: int


class DropSequence(Message, frozen=True):
    """Forget the state of this sequence; no batch of it is under way."""

    number: int


ToLinkedWorker = (
    OpenArena
    | CloseArena
    | RunBatch
    | GrantOutput
    | DropBatch
    | AdvanceBatch
    | CloseBatch
    | DropSequence
)

# --- worker → gateway (a link) -------------------------------------------------------------


class BatchDone(Message, frozen=True):
    """The outputs lie in the arena, in the signature's order. Times in nanoseconds.

    Of a generator: it has ended, with this as its last answer, or without one where there are no
    outputs; the times are those of all its steps. Of a batch that is traced `began` says when
    copying in, computing and copying out began, by the monotonic clock.
    """

    batch: int
    outputs: tuple[SlotTensor, ...]
    input_ns: int
    infer_ns: int
    output_ns: int
    began: tuple[int, int, int] | None = None


class BatchAnswer(Message, frozen=True):
    """A generator has yielded: its outputs lie in the arena, and it waits for `AdvanceBatch`.

    The times, in nanoseconds, are those of all its steps so far.
    """

    batch: int
    outputs: tuple[SlotTensor, ...]
    infer_ns: int
    output_ns: int


class OutputOverflow(Message, frozen=True):
    """The outputs need this much room; the worker holds them until it is granted."""

    batch: int
    nbytes: int


class BatchFailed(Message, frozen=True):
    """The batch has no outputs, for this reason; the worker goes on."""

    batch: int
    fault: Fault


FromLinkedWorker = BatchDone | BatchAnswer | OutputOverflow | BatchFailed
