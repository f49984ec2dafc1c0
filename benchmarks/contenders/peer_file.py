"""What a peer's folder says of it: `peers/NAME/peer.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent
PEERS = BENCHMARKS / "peers"

Command = tuple[str, ...]


class PeerFileError(ValueError):
    """A `peer.toml` is not as it must be; the text says where."""


@dataclass(frozen=True, slots=True)
class WireFacts:
    """How the peer is asked; `format` is raw, oip or own (`wire.py` beside the file)."""

    transport: str
    path: str
    format: str
    content_type: str = "application/octet-stream"
    headers: tuple[str, ...] = ()
    sizes_vary: bool = False
    input: str = "input"
    output: str = "output"
    model: str = "{model}"


@dataclass(frozen=True, slots=True)
class PeerFile:
    """A peer: who it is, what it can do, how it is set up, started and asked."""

    name: str
    folder: Path
    title: str
    package: str
    summary: str
    settings: str
    workloads: tuple[str, ...]
    command: Command
    wire: WireFacts
    warm: float = 0.0
    start_limit: float = 60.0
    pause: bool = True
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    after_install: tuple[Command, ...] = ()


def all_peers() -> dict[str, PeerFile]:
    """Every folder of `peers/` with a `peer.toml`, by name. Raises `PeerFileError`."""
    return {file.parent.name: read_peer(file) for file in sorted(PEERS.glob("*/peer.toml"))}


def read_peer(file: Path) -> PeerFile:
    """The peer that `file` describes. Raises `PeerFileError`."""
    try:
        content = tomllib.loads(file.read_text())
        start = content.pop("start")
        install = content.pop("install", {})
        wire = WireFacts(**_tuples(content.pop("wire")))
        peer = PeerFile(
            name=file.parent.name,
            folder=file.parent,
            command=tuple(start["command"]),
            environment=start.get("env", {}),
            after_install=tuple(tuple(each) for each in install.get("after", ())),
            wire=wire,
            **_tuples(content),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise PeerFileError(f"{file}: {error}; see benchmarks/README.md") from error
    if wire.transport not in {"grpc", "http"} or wire.format not in {"raw", "oip", "own"}:
        raise PeerFileError(
            f"{file}: transport {wire.transport!r}, format {wire.format!r}; known are grpc and "
            "http, raw, oip and own"
        )
    return peer


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(each) if isinstance(each, list) else each for key, each in table.items()}
