"""Settings of the server, and the operator's word on single models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inferd.core.address import Address
from inferd.core.settings.fields import (
    AddressField,
    AddressOrOff,
    Bytes,
    Gateways,
    Names,
    Paths,
    Seconds,
    Share,
    VersionsField,
)

_GRPC_LIMIT = (1 << 31) - 1
"""gRPC counts a message's bytes in 32 bits."""


class ModelOverride(BaseModel):
    """`[model.NAME]` in inferd.toml: the operator's word on one model, over its model.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trust: bool = False
    """Whether code that comes with this model may run."""
    devices: Names | None = None
    instances: Annotated[int, Field(ge=1, le=256)] | None = None
    """Workers per device."""
    threads: Annotated[int, Field(ge=1)] | None = None
    versions: VersionsField | None = None
    max_batch_size: Annotated[int, Field(ge=0)] | None = None
    max_queue_delay_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_queue_size: Annotated[int, Field(ge=1)] | None = None
    """Requests waiting in one gateway before it refuses new ones."""
    max_streams: Annotated[int, Field(ge=1, le=128)] | None = None
    """Generators of one gateway that a worker runs side by side."""


class Settings(BaseModel):
    """What `inferd serve` was told. Times in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Paths = ()
    """Model files, model folders and folders of models."""
    grpc: AddressField = Address("127.0.0.1", 8001)
    http: AddressOrOff = Address("127.0.0.1", 8000)
    """Where it listens for HTTP; None, as text `off`: nowhere."""
    ops: AddressOrOff = Address("127.0.0.1", 8002)
    """Where metrics, probes and the server's status are to be had; None, as text `off`: nowhere."""
    metrics_compat: Literal["none", "triton"] = "none"
    """Whose names metrics have, too."""
    gateways: Gateways = 1
    """Processes that share the port; each has queues and links to workers of its own."""
    insecure: bool = False
    """Whether other machines may call without encryption and without showing who they are."""
    max_message_bytes: Annotated[Bytes, Field(le=_GRPC_LIMIT)] = 64 << 20
    max_request_time: Annotated[Seconds, Field(gt=0)] = 60.0
    """The longest that a request without a deadline of its own may take."""
    max_arena_bytes: Bytes = 1 << 30
    """The most memory that one gateway and one worker share."""
    repository_control: bool | None = None
    """Whether clients may load and unload models; None: on a loopback address only."""
    client_shared_memory: bool = False
    """Whether clients may have tensors read from and written to shared memory of this machine."""
    grace: Seconds = 30.0
    """How long requests in flight may take to finish once the server is told to stop."""
    load_timeout: Annotated[Seconds, Field(gt=0)] = 300.0
    parallel_loads: Annotated[int, Field(ge=1)] = 2
    """How many workers load a model at the same time while the server starts."""
    door: Literal["auto", "completion_queue", "grpc_aio"] = "auto"
    """What carries gRPC; auto: grpcio's completion queue where it is as expected, else grpc.aio."""
    tracing: Literal["off", "otlp", "console"] = "off"
    """Where spans go: nowhere, to OTEL_EXPORTER_OTLP_ENDPOINT, or into the log as JSON."""
    trace_sampling: Share = 0.01
    """Of the requests that come without a trace context, the share that is traced."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: Share = 0.0
    """Which share of inference requests has a line in the log, drawn by chance."""
    log_format: Literal["auto", "json", "console"] = "auto"
    devices: Names = ("auto",)
    """Where models run whose own settings do not say."""
    ready_file: Path | None = None
    trust: Names = ()
    """Models whose own code may run."""
    model: dict[str, ModelOverride] = Field(default_factory=dict)

    @field_validator("devices")
    @classmethod
    def _some_device(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        if devices:
            return devices
        raise ValueError("expected at least one device, such as auto, cpu or cuda:0")

    @property
    def may_control_repository(self) -> bool:
        """Whether clients may load and unload models."""
        if self.repository_control is None:
            return self.grpc.is_loopback and (self.http is None or self.http.is_loopback)
        return self.repository_control

    def override(self, model: str) -> ModelOverride:
        """The operator's word on `model`, `trust` lists included."""
        found = self.model.get(model, ModelOverride())
        return found.model_copy(update={"trust": True}) if model in self.trust else found
