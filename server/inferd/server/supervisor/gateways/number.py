"""How many gateways a server gets where the operator leaves it to us."""

from __future__ import annotations

MOST = 8
"""More have never been worth their memory: from here on the workers are the limit."""

CORES_EACH = 2
"""A gateway's threads, and the C core's under them, use more than one core and less than two."""


def gateways_for(cores: int, cpu_workers: int) -> int:
    """One gateway for every two cores that the CPU's workers leave, from 1 to 8.

    `cores` is what this process may use, a container's quota included; each worker that runs on the
    CPU takes one of them, and workers on GPUs none.
    """
    return max(1, min(MOST, (cores - cpu_workers) // CORES_EACH))
