"""Every message between two processes, grouped by sender and receiver.

A closed set: each socket has one union of types per direction, and nothing else decodes.
Bytes of tensors never travel here; messages name where in an arena they lie.
"""

from __future__ import annotations

import msgspec

from inferd.wire.signature import Signature, TensorSpec

ParameterValue = bool | int | float | str


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages."""


class Fault(msgspec.Struct, frozen=True, array_like=True):
    """An error on its way to a caller: the reason of a `ServingError`, its text, when to retry."""

    reason: str
    message: str
    retry_after: float | None = None


# --- supervisor → worker -------------------------------------------------------------------


class ModelSource(msgspec.Struct, frozen=True):
    """Where a model version lies and what its operator declared about it.

    `kind` is `exported` (a .pt2 of torch.export; `path` is the file) or `code` (`path` is the
    folder with model.py). Declared inputs and outputs are empty where the artefact tells them.
    `max_batch_size` None leaves it to the artefact.
    """

    name: str
    version: int
    kind: str
    path: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    max_batch_size: int | None = None


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
    """The model is loaded and warm. `takes_parameters`: request parameters reach the model."""

    signature: Signature
    platform: str
    takes_parameters: bool
    seconds: float


class LoadingFailed(Message, frozen=True):
    """The model did not load; the worker ends by itself."""

    reason: str


FromWorker = Loaded | LoadingFailed

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


class RunBatch(Message, frozen=True):
    """Run the model once.

    `inputs` follow the signature's order, None for an optional one that was left out. The worker
    may write its outputs into `output_bytes` bytes from `output_offset` on, 64-byte aligned each.
    """

    batch: int
    arena: int
    inputs: tuple[SlotTensor | None, ...]
    output_offset: int
    output_bytes: int
    parameters: dict[str, ParameterValue] | None = None


class GrantOutput(Message, frozen=True):
    """Room for the outputs that did not fit: write them here and report the batch done."""

    batch: int
    arena: int
    output_offset: int
    output_bytes: int


class DropBatch(Message, frozen=True):
    """There is no room for the outputs: forget the batch, send nothing."""

    batch: int


ToLinkedWorker = OpenArena | CloseArena | RunBatch | GrantOutput | DropBatch

# --- worker → gateway (a link) -------------------------------------------------------------


class BatchDone(Message, frozen=True):
    """The outputs lie in the arena, in the signature's order. Times in nanoseconds."""

    batch: int
    outputs: tuple[SlotTensor, ...]
    input_ns: int
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


FromLinkedWorker = BatchDone | OutputOverflow | BatchFailed

# --- supervisor → gateway ------------------------------------------------------------------


class StartGateway(Message, frozen=True):
    """The first message to a gateway: where to listen and within which limits.

    Sizes in bytes, times in seconds. `address` is HOST:PORT, port 0 for a free one.
    """

    address: str
    max_message_bytes: int
    max_request_time: float
    max_arena_bytes: int
    repository_control: bool


class AddDeployment(Message, frozen=True):
    """One generation of one model version, not yet routed to. Times in seconds."""

    deployment: int
    model: str
    version: int
    platform: str
    signature: Signature
    takes_parameters: bool
    max_queue_size: int
    max_queue_delay: float
    instances: tuple[Pinning, ...]


class AddInstance(Message, frozen=True):
    """A worker of a deployment; the gateway's end of its link comes with this message."""

    deployment: int
    instance: int
    device: str


class VersionState(msgspec.Struct, frozen=True, array_like=True):
    """One version as the repository index lists it; routed to while `deployment` is set.

    `state` is LOADING, READY, UNLOADING or UNAVAILABLE, the last with a `reason`.
    """

    version: int
    state: str
    reason: str
    deployment: int | None


class PublishModel(Message, frozen=True):
    """The whole truth about one model. Deployments it no longer names are drained."""

    model: str
    versions: tuple[VersionState, ...]


class PublishServer(Message, frozen=True):
    """Whether the server as a whole is ready: its first models are loaded or have failed."""

    ready: bool


class CommandAnswer(Message, frozen=True):
    """The outcome of a RepositoryCommand; no fault means that it was done."""

    command: int
    fault: Fault | None


class DrainGateway(Message, frozen=True):
    """Take no new calls, answer those in flight within `grace` seconds, then end."""

    grace: float


ToGateway = (
    StartGateway
    | AddDeployment
    | AddInstance
    | PublishModel
    | PublishServer
    | CommandAnswer
    | DrainGateway
)

# --- gateway → supervisor ------------------------------------------------------------------


class Listening(Message, frozen=True):
    """The gateway's door is open at HOST:PORT."""

    address: str


class ListenFailed(Message, frozen=True):
    """The address could not be bound."""

    reason: str


class InstanceAttached(Message, frozen=True):
    """The link to this instance is up: requests can reach it."""

    instance: int


class InstanceLost(Message, frozen=True):
    """The link to this instance is closed: its worker died, or was given up for what it said."""

    instance: int


class DeploymentDrained(Message, frozen=True):
    """No request is left in this deployment: its workers may stop."""

    deployment: int


class RepositoryCommand(Message, frozen=True):
    """A client asks to load or unload a model by name. `verb` is `load` or `unload`."""

    command: int
    verb: str
    model: str


FromGateway = (
    Listening
    | ListenFailed
    | InstanceAttached
    | InstanceLost
    | DeploymentDrained
    | RepositoryCommand
)
