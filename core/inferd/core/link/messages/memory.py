"""What memory model versions take, on its way from the supervisor to gateways."""

from __future__ import annotations

import msgspec


class MemoryUsage(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of one memory: `kind` is `CPU` or `GPU`, `device` the number among those of its kind."""

    kind: str
    device: int
    nbytes: int


class VersionMemory(msgspec.Struct, frozen=True, array_like=True):
    """What all processes that serve a version take together."""

    model: str
    version: int
    usage: tuple[MemoryUsage, ...]
