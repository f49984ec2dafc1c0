"""When the client is the limit."""

from __future__ import annotations

import pytest

from inferd.bench.verdict import ClientLoad, client_limit


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
