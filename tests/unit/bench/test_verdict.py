"""When the client is the limit."""

from __future__ import annotations

import pytest

from inferd.bench.verdict import ClientLoad, client_limit, machine_limit


@pytest.mark.parametrize(
    ("load", "latency", "told"),
    [
        (ClientLoad(1, 0.5), 0.01, None),
        (ClientLoad(1, 0.89), 0.01, None),
        (ClientLoad(1, 0.90), 0.01, "the client process used 90% of a core"),
        (ClientLoad(2, 0.95), 0.01, "a client process used 95% of a core"),
        (ClientLoad(1, 0.1, late=0.0009), 0.001, None),
        (ClientLoad(1, 0.1, late=0.002), 0.050, None),
        (ClientLoad(1, 0.1, late=0.002), 0.010, "up to 2.0 ms (p99) later than scheduled"),
        (ClientLoad(1, 0.1, unsent=3), 0.010, "3 requests were not sent"),
    ],
)
def test_the_client_is_the_limit(load: ClientLoad, latency: float, told: str | None) -> None:
    """Busy, late by a tenth of what was measured, or out of room; else the server is measured."""
    said = client_limit(load, latency)
    assert said is None if told is None else told in (said or "")


@pytest.mark.parametrize(
    ("client", "server", "client_cpus", "server_cpus", "told"),
    [
        (0.9, 0.9, {0, 1}, {0, 1}, "(0.9 + 0.9 of 2)"),
        (0.9, 0.85, {0, 1}, {0, 1}, None),
        (0.95, 0.95, {0}, {1}, None),
        (0.1, 0.85, {0}, {0}, "(0.1 + 0.8 of 1)"),
        (0.9, 0.9, {0}, {0, 1, 2, 3}, None),
        (1.0, 2.9, {0}, {0, 1, 2, 3}, "(1.0 + 2.9 of 4)"),
        (1.0, 1.0, {0, 1}, set(), None),
    ],
)
def test_the_machine_is_the_limit(
    client: float, server: float, client_cpus: set[int], server_cpus: set[int], told: str | None
) -> None:
    """Where both may run on some core, and nearly all that either may run on are used."""
    said = machine_limit(client, server, client_cpus=client_cpus, server_cpus=server_cpus)
    shared = "client and server share this machine's cores and used all of them"
    assert said == (None if told is None else f"{shared} {told}")
