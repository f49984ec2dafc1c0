"""What a server tells about itself and its models."""

from __future__ import annotations

from dataclasses import dataclass

from inferd.wire.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The server's name and version, and the protocol extensions that it offers."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model, its loaded versions and its signature.

    `signature.max_batch_size` is 0 for a model without a batch dimension; requests may have more
    rows than that, the server splits them. A `decoupled` model is called by `stream` alone.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    signature: Signature
    decoupled: bool = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model takes, in the order of positional arguments."""
        return self.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model answers."""
        return self.signature.outputs


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version of a model in the server's repository.

    `state` is READY, LOADING, UNLOADING, UNAVAILABLE or UNKNOWN; `reason` tells why it is not READY.
    """

    name: str
    version: str
    state: str
    reason: str

    @property
    def ready(self) -> bool:
        """Whether it can be called."""
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened, and how long that took altogether."""

    count: int
    seconds: float

    @property
    def mean(self) -> float:
        """Seconds each time; 0.0 where it never happened."""
        return self.seconds / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The executions that had this many rows."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes that a model version takes now of one memory.

    `kind` is CPU, CPU_PINNED or GPU; `device` is the number among those of its kind.
    """

    kind: str
    device: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class ResponseStatistics:
    """The answers that came at this place, from 0, among all to their requests.

    `success` counts answers, `compute_infer` their steps and `compute_output` copying them out;
    `empty_response` requests that ended without one more answer, `fail` errors in its place, `cancel`
    callers that had left.
    """

    index: int
    compute_infer: Duration
    compute_output: Duration
    success: Duration
    fail: Duration
    empty_response: Duration
    cancel: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Counts and times of one model version since it was loaded.

    `inference_count` counts rows, `execution_count` runs of the model, `success` and `fail` requests.
    `last_inference` is in seconds since the Unix epoch, None before the first one. `memory` has one
    entry for each that the version takes, as far as the server knows; `responses` are by their
    index, of models that answer a request many times.
    """

    name: str
    version: str
    last_inference: float | None
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    batches: tuple[BatchStatistics, ...]
    memory: tuple[MemoryUsage, ...] = ()
    responses: tuple[ResponseStatistics, ...] = ()
