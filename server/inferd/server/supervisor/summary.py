"""What is served, for people: a snapshot of the library."""

from __future__ import annotations

from dataclasses import dataclass

from inferd.server.supervisor.library import Library
from inferd.server.supervisor.replicas.instance import Phase
from inferd.wire.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One version of a model. `signature` is None for one that never loaded.

    `live` of `instances` workers are reached; `devices` are theirs, each once.
    """

    model: str
    version: int
    state: str
    reason: str
    devices: tuple[str, ...] = ()
    live: int = 0
    instances: int = 0
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens: HOST:PORT each, None where it does not."""

    grpc: str
    http: str | None = None
    ops: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What this server serves and where. `notes` are what the operator should know beside it."""

    addresses: Addresses
    versions: tuple[ServedVersion, ...]
    notes: tuple[str, ...] = ()
    gateways: int = 1


def summarise(
    library: Library,
    addresses: Addresses,
    gateways: int = 1,
    notes: tuple[str, ...] = (),
) -> Summary:
    """The library as it is now."""
    versions: list[ServedVersion] = []
    for model in library.catalogue.models():
        for state in library.catalogue.versions(model):
            deployment = library.deployment(model, state.version)
            replicas = deployment.replicas if deployment is not None else ()
            loaded = deployment.loaded if deployment is not None else None
            versions.append(
                ServedVersion(
                    model=model,
                    version=state.version,
                    state=state.state,
                    reason=state.reason,
                    devices=tuple(dict.fromkeys(each.pinning.device for each in replicas)),
                    live=sum(each.phase is Phase.ATTACHED for each in replicas),
                    instances=len(replicas),
                    signature=loaded.signature if loaded is not None else None,
                )
            )
    return Summary(addresses, tuple(versions), notes, gateways)


def short(tensors: tuple[TensorSpec, ...]) -> str:
    """Tensors in a few characters, such as `image FP32[-1,1,8,8]`."""
    return ", ".join(
        f"{spec.name} {spec.datatype}"
        + ("" if spec.dims is None else f"[{','.join(map(str, spec.shape))}]")
        for spec in tensors
    )
