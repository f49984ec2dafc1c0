"""What a deployment is, as everyone above it may read."""

from __future__ import annotations

from dataclasses import dataclass

from inferd.core.link.messages import AddDeployment, Pinning, SequenceTerms
from inferd.wire.errors import ModelNotReady, WorkerLost
from inferd.wire.signature import Signature

RESTART_HINT = 1.0
"""Seconds after which a caller of a lost worker may try again: about what a reload takes."""


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """What a deployment serves and within which limits.

    One instance runs up to `max_streams` generators of a `decoupled` model side by side.
    """

    number: int
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
    sequences: SequenceTerms | None = None

    @classmethod
    def of(cls, message: AddDeployment) -> DeploymentInfo:
        """What the supervisor says of a new deployment."""
        return cls(
            number=message.deployment,
            model=message.model,
            version=message.version,
            platform=message.platform,
            signature=message.signature,
            takes_parameters=message.takes_parameters,
            max_queue_size=message.max_queue_size,
            max_queue_delay=message.max_queue_delay,
            instances=message.instances,
            preferred_batch_size=message.preferred_batch_size,
            decoupled=message.decoupled,
            max_streams=message.max_streams,
            sequences=message.sequences,
        )

    def not_ready(self) -> ModelNotReady:
        """The error of requests that come while no instance lives."""
        return ModelNotReady(
            f"'{self.model}' version {self.version} is not at ready state: "
            "its worker is being restarted",
            retry_after=RESTART_HINT,
        )

    def worker_lost(self) -> WorkerLost:
        """The error of requests that a worker held when it died."""
        version = str(self.version)
        return WorkerLost(
            f"the worker of '{self.model}' version {version} was lost while it held this request; "
            "it is being restarted",
            retry_after=RESTART_HINT,
            metadata={"model": self.model, "version": version},
        )
