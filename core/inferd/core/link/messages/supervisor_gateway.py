"""Between the supervisor and a gateway."""

from __future__ import annotations

from typing import Literal

import msgspec

from inferd.core.link.messages.counts import MethodCounts, VersionCounts, VersionLoad
from inferd.core.link.messages.memory import VersionMemory
from inferd.core.link.messages.message import Fault, Message
from inferd.core.link.messages.supervisor_worker import Pinning
from inferd.wire.signature import Signature

DoorChoice = Literal["auto", "completion_queue", "grpc_aio"]
"""`auto` is the completion queue where grpcio's core is of the known shape, else grpc.aio."""

Tracing = Literal["off", "otlp", "console"]
"""Where the spans of traced requests go."""

# --- supervisor → gateway ------------------------------------------------------------------


class StartGateway(Message, frozen=True):
    """The first message to a gateway: where to listen and within which limits.

    Sizes in bytes, times in seconds. `address` is HOST:PORT, port 0 for a free one; with
    `share_port` other gateways listen at the same one. `http` is another HOST:PORT, None for no HTTP.
    `trace_sampling` is the share of requests traced of those whose callers do not say.
    `access_log` is the share of inference requests that are logged.
    """

    address: str
    max_message_bytes: int
    max_request_time: float
    max_arena_bytes: int
    repository_control: bool
    share_port: bool = False
    client_shared_memory: bool = False
    door: DoorChoice = "auto"
    http: str | None = None
    tracing: Tracing = "off"
    trace_sampling: float = 0.01
    access_log: float = 0.0


class SequenceTerms(msgspec.Struct, frozen=True):
    """How long a sequence may be without a request, in seconds, and how many may be at once."""

    idle_timeout: float = 60.0
    max_active: int = 1000


class AddDeployment(Message, frozen=True):
    """One generation of one model version, not yet routed to. Times in seconds.

    Batches are formed of up to `preferred_batch_size` rows; 0 stands for the model's largest.
    `max_streams` is how many generators of a `decoupled` model one worker runs side by side.
    `labels` name the classes of an output, by its name. `sequences` is None for a model that keeps
    no state between requests.
    """

    deployment: int
    model: str
    version: int
    platform: str
    signature: Signature
    takes_parameters: bool
    max_queue_size: int
    max_queue_delay: float
    instances: tuple[Pinning, ...]
    preferred_batch_size: int = 0
    decoupled: bool = False
    max_streams: int = 64
    labels: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    sequences: SequenceTerms | None = None


class AddInstance(Message, frozen=True):
    """A worker of a deployment; the gateway's end of its link comes with this message.

    `link` is its number among the links of a server; `instance`, from 0, tells people which of the
    deployment's workers it is, whatever became of its processes.
    """

    deployment: int
    link: int
    device: str
    instance: int = 0


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


class OpenDoor(Message, frozen=True):
    """You know all that is to be known for now: accept calls."""


class Settle(Message, frozen=True):
    """Answer `Settled` with this number once everything said before is done."""

    number: int


class ReportCounts(Message, frozen=True):
    """Send what was counted since the last report."""


class OtherCounts(Message, frozen=True):
    """The answer to `AskCounts`, in one message or several; `last` ends it.

    `memory` is of all versions that have processes, as far as it is known; each is named once.
    """

    ask: int
    counts: tuple[VersionCounts, ...]
    last: bool
    memory: tuple[VersionMemory, ...] = ()


class CommandAnswer(Message, frozen=True):
    """The outcome of a command of any kind; no fault means that it was done."""

    command: int
    fault: Fault | None


class DrainGateway(Message, frozen=True):
    """Take no new calls, answer those in flight within `grace` seconds, then end."""

    grace: float


class AddRegion(Message, frozen=True):
    """Shared memory of a client, by the name it gave; its descriptor comes with this message.

    `key` is its POSIX name; `offset` and `nbytes` are the part of it that is registered, in bytes.
    """

    name: str
    key: str
    offset: int
    nbytes: int


class RemoveRegion(Message, frozen=True):
    """Forget the shared memory of this name."""

    name: str


ToGateway = (
    StartGateway
    | AddDeployment
    | AddInstance
    | PublishModel
    | PublishServer
    | OpenDoor
    | Settle
    | ReportCounts
    | OtherCounts
    | CommandAnswer
    | AddRegion
    | RemoveRegion
    | DrainGateway
)

# --- gateway → supervisor ------------------------------------------------------------------


class Listening(Message, frozen=True):
    """The gateway has bound HOST:PORT; it accepts calls when it is told to. `http` likewise."""

    address: str
    http: str | None = None


class ListenFailed(Message, frozen=True):
    """The address for gRPC, or with `over_http` the one for HTTP, could not be bound."""

    reason: str
    over_http: bool = False


class InstanceAttached(Message, frozen=True):
    """This link to an instance is up: requests can reach it."""

    link: int


class InstanceLost(Message, frozen=True):
    """This link to an instance is closed: its worker died, or was given up for what it said."""

    link: int


class DeploymentDrained(Message, frozen=True):
    """No request is left in this deployment: its workers may stop."""

    deployment: int


class Settled(Message, frozen=True):
    """Everything that was said before `Settle` with this number is done."""

    number: int


class CountsReport(Message, frozen=True):
    """What was counted, for every version whose counts have changed since the last report.

    Totals since the gateway started, of the batch sizes that have changed. Sent when asked, when
    the gateway ends, and from time to time.
    """

    counts: tuple[VersionCounts, ...]


class StateReport(Message, frozen=True):
    """What a gateway holds and how it fares, sent beside its counts when it is asked for them.

    `loads` of the versions that hold anything; `calls` counts since the gateway started; `lag` is how
    many seconds late its threads came round at worst, of late.
    """

    loads: tuple[VersionLoad, ...]
    calls: tuple[MethodCounts, ...]
    lag: float


class AskCounts(Message, frozen=True):
    """What have the other gateways counted, and those that are no more?"""

    ask: int


class RepositoryCommand(Message, frozen=True):
    """A client asks to load or unload a model by name. `verb` is `load` or `unload`."""

    command: int
    verb: str
    model: str


class RegisterRegion(Message, frozen=True):
    """A client offers shared memory, answered by `CommandAnswer`; fields as in `AddRegion`."""

    command: int
    name: str
    key: str
    offset: int
    nbytes: int


class UnregisterRegion(Message, frozen=True):
    """A client takes shared memory back, all of it where the name is empty."""

    command: int
    name: str


FromGateway = (
    Listening
    | ListenFailed
    | InstanceAttached
    | InstanceLost
    | DeploymentDrained
    | Settled
    | CountsReport
    | StateReport
    | AskCounts
    | RepositoryCommand
    | RegisterRegion
    | UnregisterRegion
)
