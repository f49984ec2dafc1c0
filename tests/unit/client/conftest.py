"""A server for each test, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inferd.client import Client, connect
from support.oip_server import OipServer


@pytest.fixture
def server() -> Iterator[OipServer]:
    """A real gRPC server in this process."""
    with OipServer() as running:
        yield running


@pytest.fixture
def client(server: OipServer) -> Iterator[Client]:
    """A client of `server`."""
    with connect(server.address, timeout=10) as connected:
        yield connected
