"""Between the supervisor and a worker."""

from __future__ import annotations

import msgspec

from inferd.core.link.messages.message import Message
from inferd.wire.signature import Signature, TensorSpec

# --- supervisor → worker -------------------------------------------------------------------


class ModelSource(msgspec.Struct, frozen=True):
    """Where a model version lies and what its operator declared about it.

    `kind` is `exported` (a .pt2 of torch.export; `path` is the file) or `code` (`path` is the
    folder with model.py). Declared inputs and outputs are empty where the artefact tells them.
    `max_batch_size` None leaves it to the artefact. With `sequences` it keeps state between requests.
    """

    name: str
    version: int
    kind: str
    path: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    max_batch_size: int | None = None
    sequences: bool = False


class Pinning(msgspec.Struct, frozen=True):
    """The device of one worker: `cpu` or `cuda:N`, CPU cores to stay on (empty: any), threads."""

    device: str
    cpus: tuple[int, ...] = ()
    threads: int = 1


class LoadModel(Message, frozen=True):
    """The first message to a worker: pin yourself, then load and warm up this model."""

    source: ModelSource
    pinning: Pinning
    warm_up: bool = True


class OpenLink(Message, frozen=True):
    """Serve one more gateway; its socket comes with this message."""


class StopWorker(Message, frozen=True):
    """Finish the batch in hand and end."""


ToWorker = LoadModel | OpenLink | StopWorker

# --- worker → supervisor -------------------------------------------------------------------


class Loaded(Message, frozen=True):
    """The model is loaded and warm. `takes_parameters`: request parameters reach the model.

    `preferred_batch_size` is up to how many rows a batch is worth forming, 0 where not known.
    `decoupled`: its requests are answered by generators, many times or never.
    """

    signature: Signature
    platform: str
    takes_parameters: bool
    seconds: float
    preferred_batch_size: int = 0
    decoupled: bool = False


class LoadingFailed(Message, frozen=True):
    """The model did not load; the worker ends by itself."""

    reason: str


class MemoryReport(Message, frozen=True):
    """What torch's allocator holds of the worker's GPU, in bytes. Sent when it has changed.

    `allocated` is in tensors, `reserved` is what was taken from the device for them; `peak` is the
    most that was allocated at a time.
    """

    allocated: int
    reserved: int
    peak: int


FromWorker = Loaded | LoadingFailed | MemoryReport
