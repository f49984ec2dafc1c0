"""One gateway per test, and a channel to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from support.gateway import GatewayUnderTest


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[GatewayUnderTest, grpc.Channel]]]:
    """Starts gateways with the settings given."""
    with ExitStack() as stack:

        def starts(**settings: object) -> tuple[GatewayUnderTest, grpc.Channel]:
            gateway = stack.enter_context(GatewayUnderTest(**settings))  # type: ignore[arg-type]  # as given
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            return gateway, stack.enter_context(grpc.insecure_channel(gateway.address, options))

        yield starts


@pytest.fixture
def gateway(start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]]) -> GatewayUnderTest:
    """A gateway without models."""
    return start()[0]


@pytest.fixture
def channel(gateway: GatewayUnderTest) -> Iterator[grpc.Channel]:
    """A channel to `gateway` that never retries."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(gateway.address, options) as made:
        yield made
