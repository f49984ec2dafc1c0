"""A real worker process, with the test in the places of supervisor and gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from inferd.core.link.arena import Arena, aligned
from inferd.core.link.messages import (
    BatchDone,
    FromLinkedWorker,
    FromWorker,
    Loaded,
    LoadingFailed,
    LoadModel,
    MemoryReport,
    ModelSource,
    OpenArena,
    OpenLink,
    ParameterValue,
    Pinning,
    RunBatch,
    SlotTensor,
    StopWorker,
    ToLinkedWorker,
    ToWorker,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.wire.dtypes import DATATYPES, datatype_of
from inferd.wire.tensors import decode_bytes, encode_bytes

Array = npt.NDArray[np.generic] | npt.NDArray[np.object_]
Message = TypeVar("Message")

PATIENCE = 60.0
"""Seconds until a worker that says nothing fails the test."""


class WorkerProcess:
    """`python -m inferd.worker` as the supervisor starts it; leaving the context stops it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket_pair()
        ours.settimeout(PATIENCE)
        self._ours = ours
        self.control: MessageSocket[ToWorker, FromWorker] = MessageSocket(ours, FromWorker)
        command = [sys.executable, "-m", "inferd.worker"]
        command += ["--control-fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        command += ["--log-level", "error", "--log-format", "json"]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **(environment or {})},
            stderr=subprocess.PIPE,
            process_group=0,
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.control.send(StopWorker())
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.control.close()
            assert self.process.stderr is not None
            self.process.stderr.close()

    def patience(self, seconds: float) -> None:
        """How long to wait for its reports, where loading is slow."""
        self._ours.settimeout(seconds)

    def load(
        self, source: ModelSource, pinning: Pinning | None = None, *, warm_up: bool = True
    ) -> Loaded | LoadingFailed:
        """Order it to load; its report."""
        self.control.send(LoadModel(source, pinning or Pinning("cpu"), warm_up))
        report = self.control.receive()
        assert not isinstance(report, MemoryReport), "it tells of memory before it has loaded"
        return report

    def loaded(self, source: ModelSource, pinning: Pinning | None = None) -> Loaded:
        """Order it to load, which must succeed."""
        report = self.load(source, pinning)
        assert isinstance(report, Loaded), report
        return report

    def open_link(self, arena_bytes: int = 1 << 20) -> GatewayEnd:
        """One more gateway for it, with an arena of its own."""
        ours, theirs = socket_pair()
        ours.settimeout(PATIENCE)
        self.control.send(OpenLink(), [theirs.fileno()])
        theirs.close()
        return GatewayEnd(MessageSocket(ours, FromLinkedWorker), arena_bytes)

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(PATIENCE)

    def errors(self) -> str:
        """What it logged, once it has ended."""
        self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


class GatewayEnd:
    """The gateway's end of a link with one arena, number 1."""

    def __init__(
        self, socket: MessageSocket[ToLinkedWorker, FromLinkedWorker], arena_bytes: int
    ) -> None:
        self.socket = socket
        self.arena = Arena(arena_bytes)
        self._batches = 0
        socket.send(OpenArena(1, arena_bytes), [self.arena.fd])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.socket.close()
        self.arena.close()

    def send(
        self,
        inputs: Sequence[Array | None],
        *,
        output_bytes: int = 1 << 16,
        datatypes: Sequence[str | None] = (),
        parameters: dict[str, ParameterValue] | None = None,
        trace: bytes | None = None,
    ) -> RunBatch:
        """Write the inputs to a slot and order the batch. `datatypes` overrides those of numpy."""
        raws = [None if value is None else _raw(value) for value in inputs]
        room = sum(aligned(len(raw)) for raw in raws if raw is not None)
        start = self.arena.allocate(room + output_bytes)
        assert start is not None, "the arena of the test is too small"
        slots: list[SlotTensor | None] = []
        offset = start
        for index, (value, raw) in enumerate(zip(inputs, raws, strict=True)):
            if value is None or raw is None:
                slots.append(None)
                continue
            self.arena.cells[offset : offset + len(raw)] = raw
            named = datatypes[index] if index < len(datatypes) else None
            datatype = named or datatype_of(value.dtype)
            assert datatype is not None
            slots.append(SlotTensor(datatype, value.shape, offset, len(raw)))
            offset += aligned(len(raw))
        self._batches += 1
        batch = RunBatch(
            self._batches,
            1,
            tuple(slots),
            offset,
            output_bytes,
            parameters,
            trace=trace,
        )
        self.socket.send(batch)
        return batch

    def expect(self, kind: type[Message]) -> Message:
        """The worker's next message, which must be of this kind."""
        message = self.socket.receive()
        assert isinstance(message, kind), message
        return message

    def run(self, *inputs: Array | None, output_bytes: int = 1 << 16) -> list[Array]:
        """The outputs of a batch that must succeed; its slot is free again."""
        batch = self.send(inputs, output_bytes=output_bytes)
        done = self.expect(BatchDone)
        assert done.batch == batch.batch
        outputs = [self.read(slot) for slot in done.outputs]
        self.release(batch)
        return outputs

    def read(self, slot: SlotTensor) -> Array:
        """A copy of a tensor in the arena; BF16 comes as its bit patterns."""
        raw = bytes(self.arena.cells[slot.offset : slot.offset + slot.nbytes])
        if slot.datatype == "BYTES":
            count = int(np.prod(slot.shape))
            elements = np.empty(count, dtype=np.object_)
            elements[:] = decode_bytes(raw, count)
            return elements.reshape(slot.shape)
        return np.frombuffer(raw, DATATYPES[slot.datatype].numpy).reshape(slot.shape)

    def release(self, batch: RunBatch) -> None:
        """Free the slot of a batch that is over."""
        offsets = [slot.offset for slot in batch.inputs if slot is not None]
        self.arena.free(min([*offsets, batch.output_offset]))


def _raw(value: Array) -> bytes:
    if value.dtype.kind == "O":
        return encode_bytes(value.reshape(-1).tolist())
    return value.tobytes()
