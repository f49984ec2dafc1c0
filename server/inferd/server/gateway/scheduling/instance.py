"""One worker as the gateway sees it: batches go out, outcomes come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

from inferd.core.link.arena import aligned
from inferd.core.link.messages import (
    AdvanceBatch,
    BatchAnswer,
    BatchDone,
    BatchFailed,
    CloseBatch,
    DropBatch,
    FromLinkedWorker,
    GrantOutput,
    OutputOverflow,
    RunBatch,
    SlotTensor,
    ToLinkedWorker,
)
from inferd.core.link.sockets import MessageSocket
from inferd.server.gateway.scheduling.arenas import JOIN_LIMIT, Arenas, Slot, column_nbytes, place
from inferd.server.gateway.scheduling.observation.batch import ObservedBatch, observe
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.server.gateway.scheduling.queue import Batch
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import ArenaFull, OutputInvalid, ServingError, error_types
from inferd.wire.tensors import Buffer, row_offsets

Link = MessageSocket[ToLinkedWorker, FromLinkedWorker]

DEPTH = {"cpu": 1, "cuda": 2}
"""Batches outstanding per worker: copying the next overlaps computing only on a device of its own;
on a CPU a second one makes batches smaller and costs throughput."""

_FULL_DEPTH = 2
"""Batches outstanding where waiting could not make the second one larger."""

_ERRORS = error_types()


@dataclass(slots=True)
class Execution:
    """A batch that a worker holds, and the slots that are its until it answers."""

    batch: Batch
    slots: list[Slot]
    input_nbytes: int
    observed: ObservedBatch | None = None

    def fail(self, now: float, error: ServingError) -> None:
        """It ends in this error, for who observes it."""
        if self.observed is not None:
            self.observed.failed(now, error)


@dataclass(frozen=True, slots=True)
class Completed:
    """An execution that ended well; `outputs` lie in its slots until it is released."""

    number: int
    execution: Execution
    layout: OutputLayout
    outputs: tuple[memoryview, ...]
    durations: tuple[int, int, int]
    began: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An execution that ended in an error."""

    number: int
    execution: Execution
    error: ServingError


class Instance:
    """Places batches in the arenas of one link and reads the worker's answers.

    Not thread-safe: called under the scheduler's lock, except for `receive` and `conclude`, which
    the one thread that reads the links calls.
    """

    def __init__(
        self,
        link_number: int,
        link: Link,
        *,
        depth: int,
        max_arena_bytes: int,
        device: str = "cpu",
        index: int = 0,
    ) -> None:
        """`depth` is how many batches may be outstanding, full ones not counted.

        `link_number` is told by the supervisor; `index`, from 0, tells people which of the
        deployment's instances this is.
        """
        self.link_number = link_number
        self.device = device
        self.index = index
        self.link = link
        self.late_answers = 0
        self._depth = depth
        self._arenas = Arenas(link, limit=max_arena_bytes)
        self._executions: dict[int, Execution] = {}
        self._last = 0

    @property
    def executions(self) -> Mapping[int, Execution]:
        """What the worker holds, by number."""
        return self._executions

    @property
    def outstanding(self) -> int:
        """Batches that the worker holds."""
        return len(self._executions)

    @property
    def free(self) -> bool:
        """Whether another batch may be sent now."""
        return len(self._executions) < self._depth

    @property
    def takes_full(self) -> bool:
        """Whether another batch may be sent if it is full, and so lie ready when one ends."""
        return len(self._executions) < _FULL_DEPTH

    def run(self, batch: Batch) -> None:
        """Send a batch to the worker.

        Raises `ArenaFull` if it does not fit, `PeerGone` if the worker is gone.
        """
        lane = batch.lane
        sizes = [column_nbytes(batch, index, spec) for index, spec in enumerate(lane.inputs)]
        input_nbytes = sum([aligned(size) for size in sizes])
        output_nbytes = lane.output_nbytes(batch.rows, input_nbytes)
        slot = self._arenas.allocate(input_nbytes + output_nbytes)
        inputs: list[SlotTensor | None] = []
        at = slot.offset
        for index, (spec, size) in enumerate(zip(lane.inputs, sizes, strict=True)):
            if spec is None:
                inputs.append(None)
                continue
            place(slot.cells, at, batch.pieces, index, size)
            shape = (batch.rows, *spec.row_shape) if lane.max_rows else spec.row_shape
            inputs.append(SlotTensor(spec.datatype, shape, at, size))
            at += aligned(size)
        self._last += 1
        # Booked before it is sent: if the worker is gone, it is among the lost.
        execution = self._executions[self._last] = Execution(batch, [slot], sum(sizes))
        trace = None
        if lane.observed:
            seen = observe(batch, self.index, self.device, f"{self.link_number}-{self._last}")
            if seen is not None:
                execution.observed, trace = seen, seen.ids
        self.link.send(
            RunBatch(
                self._last,
                slot.arena,
                tuple(inputs),
                at,
                output_nbytes,
                lane.parameters,
                batch.step,
                lane.sequence.told if lane.sequence is not None else None,
                trace,
            )
        )

    def receive(self) -> FromLinkedWorker:
        """The worker's next message. Raises `PeerGone` when the worker is gone."""
        return self.link.receive()

    def conclude(self, message: BatchDone | BatchFailed) -> Completed | Failed | None:
        """What a message says of which execution; None, and counted, if that is over."""
        execution = self._executions.get(message.batch)
        if execution is None:
            self.late_answers += 1
            return None
        if isinstance(message, BatchFailed):
            fault = message.fault
            kind = _ERRORS.get(fault.reason, ServingError)
            error = kind(fault.message, retry_after=fault.retry_after)
            return Failed(message.batch, execution, error)
        slot = execution.slots[-1]
        layout, outputs = [], []
        batches = execution.batch.lane.batches
        rows = execution.batch.rows
        for each in message.outputs:
            if not _fits(each, rows if batches else None):
                error = OutputInvalid(
                    f"the model gave {each.nbytes} bytes as {each.datatype} {list(each.shape)} "
                    f"for a batch of {rows} rows"
                )
                return Failed(message.batch, execution, error)
            if each.offset < slot.offset or each.offset + each.nbytes > slot.offset + slot.nbytes:
                error = OutputInvalid("the worker's answer lies outside the memory it was given")
                return Failed(message.batch, execution, error)
            layout.append((each.datatype, each.shape[1:] if batches else each.shape))
            outputs.append(slot.cells[each.offset : each.offset + each.nbytes])
        durations = (message.input_ns, message.infer_ns, message.output_ns)
        return Completed(
            message.batch, execution, tuple(layout), tuple(outputs), durations, message.began
        )

    def answer(self, message: BatchAnswer) -> Completed | Failed | None:
        """One answer of a generator, as `conclude` gives the last; it lies there until `advance`."""
        times = (message.infer_ns, message.output_ns)
        return self.conclude(BatchDone(message.batch, message.outputs, 0, *times))

    def advance(self, number: int) -> None:
        """Let a generator take its next step; its last answer is read. Raises `PeerGone`."""
        self.link.send(AdvanceBatch(number))

    def stop(self, number: int) -> None:
        """Have a generator closed; it is outstanding until the worker has. Raises `PeerGone`."""
        self.link.send(CloseBatch(number))

    def enlarge(self, message: OutputOverflow) -> None:
        """Give a generator room for larger answers, and some to grow, in place of what it had.

        Raises `ArenaFull` where there is none.
        """
        execution = self._executions[message.batch]
        for slot in execution.slots[1:]:  # the first holds the inputs
            self._arenas.free(slot)
        del execution.slots[1:]
        try:
            slot = self._arenas.allocate(message.nbytes + message.nbytes // 2)
        except ArenaFull:
            slot = self._arenas.allocate(message.nbytes)
        execution.slots.append(slot)
        execution.batch.lane.observe_output(execution.batch.rows, slot.nbytes)
        self.link.send(GrantOutput(message.batch, slot.arena, slot.offset, slot.nbytes))

    def grant(self, message: OutputOverflow) -> Failed | None:
        """Give an execution room for larger outputs; it fails where there is none."""
        execution = self._executions.get(message.batch)
        if execution is None:
            self.late_answers += 1
            return None
        try:
            slot = self._arenas.allocate(message.nbytes)
        except ArenaFull as error:
            self.link.send(DropBatch(message.batch))
            return Failed(message.batch, execution, error)
        execution.slots.append(slot)
        execution.batch.lane.observe_output(execution.batch.rows, message.nbytes)
        self.link.send(GrantOutput(message.batch, slot.arena, slot.offset, slot.nbytes))
        return None

    def release(self, number: int) -> None:
        """An execution is over and its outputs are read: its slots may be used again."""
        for slot in self._executions.pop(number).slots:
            self._arenas.free(slot)

    def close(self) -> list[Execution]:
        """Close the link and return the executions that were never answered."""
        lost = list(self._executions.values())
        self._executions.clear()
        self.link.close()
        self._arenas.close()
        return lost


def rows_of(completed: Completed) -> Sequence[Sequence[Buffer]]:
    """The outputs of each piece of an execution, in the order of its pieces.

    Views, unless the rows are small: then they are copied. Raises `OutputInvalid` where a BYTES
    output is not framed as BYTES are.
    """
    batch = completed.execution.batch
    pieces = batch.pieces
    if len(pieces) == 1 or not completed.outputs:
        return [completed.outputs for _ in pieces]
    try:
        columns = [
            _split(output, datatype, row_shape, batch)
            for output, (datatype, row_shape) in zip(
                completed.outputs, completed.layout, strict=True
            )
        ]
    except ValueError as error:
        raise OutputInvalid(f"the model gave a BYTES output that is none: {error}") from error
    return list(zip(*columns, strict=True))


def _fits(output: SlotTensor, rows: int | None) -> bool:
    """Whether an output has the bytes its shape says, and one row for each row of its batch."""
    if rows is not None and (not output.shape or output.shape[0] != rows):
        return False
    datatype = DATATYPES.get(output.datatype)
    if datatype is None:
        return False
    return not datatype.itemsize or output.nbytes == datatype.itemsize * prod(output.shape)


def _split(
    output: memoryview, datatype: str, row_shape: tuple[int, ...], batch: Batch
) -> list[Buffer]:
    pieces = batch.pieces
    if datatype == "BYTES":
        offsets = row_offsets(output, batch.rows, prod(row_shape))
        ends = list(accumulate([piece.rows for piece in pieces], initial=0))
        return [output[offsets[start] : offsets[end]] for start, end in pairwise(ends)]
    size = len(output) // batch.rows if batch.rows else 0
    # One copy of all of them and a slice of it each are quicker than views of small rows.
    rows: Buffer = bytes(output) if size <= JOIN_LIMIT else output
    if size and all(piece.rows == 1 for piece in pieces):
        return [rows[at : at + size] for at in range(0, len(rows), size)]
    ends = list(accumulate([size * piece.rows for piece in pieces], initial=0))
    return [rows[start:end] for start, end in pairwise(ends)]
