"""A port that somebody listens at is found taken, whatever options they listen with."""

from __future__ import annotations

import socket

import pytest

from inferd.core.address import Address
from inferd.server.supervisor.gateways.port import is_free


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_a_port_with_a_listener_is_taken(host: str, shared: bool) -> None:  # noqa: FBT001
    """With SO_REUSEPORT, too: binding with that option would succeed and share the port."""
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not await is_free(Address(host, port))
    assert await is_free(Address(host, port))


async def test_it_is_let_go_again() -> None:
    """Asking takes nothing: a gateway can bind it afterwards, with SO_REUSEPORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert await is_free(Address("127.0.0.1", port))
    with socket.socket() as gateway:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        gateway.bind(("127.0.0.1", port))


async def test_connections_of_a_server_that_ended_are_no_obstacle() -> None:
    """Its side of them stays in TIME_WAIT for a minute."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the port
            client.recv(1)
    assert await is_free(Address("127.0.0.1", port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_what_cannot_be_bound_is_left_to_the_gateway(host: str) -> None:
    """Its error says what is wrong; here only `taken` is looked for."""
    assert await is_free(Address(host, 8001))
