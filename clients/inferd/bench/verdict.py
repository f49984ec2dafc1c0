"""Whether the client, or a machine that it shares with the server, was what limited a step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

SATURATED = 0.90
"""Share of a core from which on a client process counts as the limit; of all cores, a machine."""

_LATE = 1e-3
_LATE_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class ClientLoad:
    """What the client processes did in a step; times in seconds.

    `cores` is the CPU time of the busiest process per second. `late` is the 99th percentile of
    how much later than scheduled requests were sent, 0 in a closed loop. `unsent` were due while
    the client held as many requests as it can.
    """

    processes: int
    cores: float
    late: float = 0.0
    unsent: int = 0


def client_limit(load: ClientLoad, latency: float) -> str | None:
    """Why the client was the limit, in a sentence; None where it was not.

    `latency` is the 99th percentile of what was measured: sending late inflates it.
    """
    who = "the client process" if load.processes == 1 else "a client process"
    if load.unsent:
        return f"{load.unsent} requests were not sent: the client had too many unanswered ones in memory"
    if load.cores >= SATURATED:
        return f"{who} used {load.cores:.0%} of a core"
    if load.late > max(_LATE, _LATE_SHARE * latency):
        return f"{who} sent requests up to {load.late * 1e3:.1f} ms (p99) later than scheduled"
    return None


def machine_limit(
    client: float, server: float, *, client_cpus: Collection[int], server_cpus: Collection[int]
) -> str | None:
    """Why a machine that runs both was the limit, in a sentence; None where it was not.

    `client` and `server` are CPU time per second of all processes of each, the collections the
    cores that each may run on.
    """
    cores = {*client_cpus, *server_cpus}
    if set(client_cpus).isdisjoint(server_cpus) or client + server < SATURATED * len(cores):
        return None
    return (
        "client and server share this machine's cores and used all of them "
        f"({client:.1f} + {server:.1f} of {len(cores)})"
    )
