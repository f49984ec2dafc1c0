"""One address and several: what is understood, and how calls are dealt out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

from inferd.client import ServerUnavailable, connect, connect_async
from inferd.client.target import Target, target_of
from support.oip_server import OipServer


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("localhost:8001", Target("localhost:8001", "localhost:8001")),
        (["grpc://a:1/"], Target("grpc://a:1/", "a:1")),
        ("[::1]:1", Target("[::1]:1", "[::1]:1")),
        ("unix:/run/a,b", Target("unix:/run/a,b", "unix:/run/a,b")),
        ("dns:service:1", Target("dns:service:1", "dns:service:1", several=True)),
        (
            "127.0.0.1:1, 127.0.0.2:2",
            Target(
                "127.0.0.1:1,127.0.0.2:2",
                "ipv4:127.0.0.1:1,127.0.0.2:2",
                several=True,
                authority="127.0.0.1:1",
            ),
        ),
        (
            ["[::1]:1", "[::2]:2"],
            Target("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2", several=True, authority="[::1]:1"),
        ),
    ],
)
def test_addresses_are_understood(address: str | Sequence[str], target: Target) -> None:
    """In a text or a list; several become one target of numbers."""
    assert target_of(address) == target


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost", "'localhost' is no address; give HOST:PORT"),
        ("127.0.0.1:1,", "'' is no address"),
        ([], "'' is no address"),
        (["unix:a", "127.0.0.1:1"], "'unix:a' is no address"),
        ("127.0.0.1:1,[::1]:1", "must be of one kind"),
    ],
)
def test_what_is_no_address_is_refused(address: str | Sequence[str], message: str) -> None:
    """At once, with what is wrong."""
    with pytest.raises(ValueError, match=message):
        connect(address)


def test_a_name_that_nobody_knows_is_told() -> None:
    """Among several, which are looked up when the client is made."""
    with pytest.raises(ServerUnavailable, match=r"'nobody\.invalid' cannot be looked up"):
        connect("127.0.0.1:1,nobody.invalid:1")


def test_with_credentials_several_addresses_have_one_host() -> None:
    """A certificate is for one name: which one it must be is not guessed."""
    with pytest.raises(ValueError, match="with credentials, several addresses have one host"):
        connect("127.0.0.1:1,127.0.0.2:1", credentials=grpc.ssl_channel_credentials())


def test_at_least_one_connection_is_made() -> None:
    """None at all is a mistake."""
    with pytest.raises(ValueError, match="connections=0: expected 1 or more"):
        connect("127.0.0.1:1", connections=0)


@pytest.mark.parametrize("connections", [1, 2])
def test_threads_share_a_client_of_several_servers(connections: int) -> None:
    """Every thread gets its own answers, and every server its share of the calls."""
    with ExitStack() as stack:
        servers = [stack.enter_context(OipServer()) for _ in range(3)]
        addresses = [server.address for server in servers]
        client = stack.enter_context(connect(addresses, connections=connections))
        # Calls go to those that are connected: the first ones wait until all are.
        while any(server.calls["ServerLive"] == 0 for server in servers):
            assert client.server_live()
        model = client.model("identity-fp32")

        def call(number: int) -> float:
            return float(model(np.full((1, 2), number, np.float32))[0, 0])

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(call, range(300))) == list(range(300))
        shares = [server.calls["ModelInfer"] for server in servers]
    assert sum(shares) == 300
    assert min(shares) >= 80, shares


async def test_tasks_share_a_client_of_several_servers() -> None:
    """The same in asyncio."""
    with ExitStack() as stack:
        servers = [stack.enter_context(OipServer()) for _ in range(2)]
        address = ",".join(server.address for server in servers)
        async with connect_async(address, connections=2) as client:
            while any(server.calls["ServerLive"] == 0 for server in servers):
                assert await client.server_live()
            model = client.model("identity-fp32")

            async def call(number: int) -> float:
                return float((await model(np.full((1, 2), number, np.float32)))[0, 0])

            assert await asyncio.gather(*map(call, range(100))) == list(range(100))
            shares = [server.calls["ModelInfer"] for server in servers]
    assert sum(shares) == 100
    assert min(shares) >= 40, shares


def test_a_server_that_is_gone_is_done_without() -> None:
    """Calls go to the others; when the last one is gone, the error names them all."""
    with OipServer() as first:
        with OipServer() as second:
            address = f"{first.address},{second.address}"
            client = connect(address, timeout=20)
            assert client.server_live()
        for _ in range(20):
            assert client.server_live()
    with client, pytest.raises(ServerUnavailable, match=f"no answer from {address}: .*running"):
        client.server_live()


def test_each_connection_is_one_of_its_own() -> None:
    """Two connections to one server: both are used, and the server sees two."""
    with OipServer() as server, connect(server.address, connections=2) as client:
        for _ in range(4):
            assert client.server_live()
        assert len(server.peers) == 2


def test_credentials_are_for_all_of_several() -> None:
    """Several addresses of one host are called over secure connections."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(OipServer(credentials=grpc.local_server_credentials()))
            for _ in range(2)
        ]
        address = [server.address for server in servers]
        with connect(address, credentials=grpc.local_channel_credentials()) as client:
            while any(server.calls["ServerLive"] == 0 for server in servers):
                assert client.server_live()
