"""What is wrong with a server, as far as its status tells."""

from __future__ import annotations

from collections.abc import Iterator

from inferd.core.telemetry.status import Status, VersionStatus

UNLOADED = "unloaded"
"""The reason of versions that somebody unloaded on purpose."""


def problems(status: Status) -> Iterator[str]:
    """A sentence for each; none for a server that is well. Models that load are not wrong."""
    if not status.server.ready:
        yield f"not ready: {status.server.reason}"
    for gateway in status.gateways:
        if not gateway.up:
            yield f"{gateway.name} takes no calls{_after(gateway.restarts)}"
    for gpu in status.gpus:
        if gpu.lost:
            yield f"GPU {gpu.index} ({gpu.name}) is lost: it does not answer its driver any more"
    for version in status.models:
        yield from _of_version(version)


def _of_version(version: VersionStatus) -> Iterator[str]:
    name = f"{version.model}/{version.version}"
    restarts = sum(version.restarts.values())
    if version.state == "UNAVAILABLE":
        if version.reason != UNLOADED:
            reason = version.reason or "no reason is known"
            yield f"{name} is UNAVAILABLE: {reason}{_after(restarts)}"
    elif version.state == "READY" and version.up < version.instances:
        failed = any(each.phase == "failed" for each in version.workers)
        # A worker that has not served yet is no loss.
        if restarts or failed:
            yield f"{name}: {version.up} of {version.instances} workers are up{_after(restarts)}"


def _after(restarts: int) -> str:
    return {0: "", 1: " (restarted once)"}.get(restarts, f" (restarted {restarts} times)")
