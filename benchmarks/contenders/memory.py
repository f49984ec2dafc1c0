"""How the allocator of every process of ours is set: as `inferd serve` sets it for its children."""

from __future__ import annotations

import os

from inferd.server.supervisor.replicas.process import KEEP_MEMORY


def kept_memory() -> dict[str, str]:
    """Variables for a child; what is set outside has the last word, as it has in inferd."""
    return {name: os.environ.get(name, value) for name, value in KEEP_MEMORY.items()}
