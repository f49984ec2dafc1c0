"""What a deployment is, as everyone above it may read."""

from __future__ import annotations

from dataclasses import dataclass

from inferd.core.link.messages import Pinning, SequenceTerms
from inferd.wire.signature import Signature


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """What a deployment serves and within which limits."""

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
    sequences: SequenceTerms | None = None
