"""One gateway per test, and a channel to it: every test once per door.

What is about tensors and batches alone, `test_datatypes` and `test_batching`, uses one door: both
hand the same bytes to the same dataplane.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from inferd.core.link.messages import DoorChoice
from inferd.server.gateway.rpc.completion_queue.polling import read_sockets_in_the_loop

if "grpc" not in sys.modules:  # else its core has been told already who reads its sockets
    read_sockets_in_the_loop()  # as a gateway of `inferd serve` does

import grpc

from support.collector import Collector
from support.gateway import GatewayUnderTest


@pytest.fixture(scope="module", params=["completion_queue", "grpc_aio"])
def door(request: pytest.FixtureRequest) -> DoorChoice:
    """Each of the doors, one after the other."""
    choice: DoorChoice = request.param
    return choice


@pytest.fixture
def start(door: DoorChoice) -> Iterator[Callable[..., tuple[GatewayUnderTest, grpc.Channel]]]:
    """Starts gateways with the settings given."""
    with ExitStack() as stack:

        def starts(**settings: object) -> tuple[GatewayUnderTest, grpc.Channel]:
            gateway = stack.enter_context(GatewayUnderTest(door=door, **settings))  # type: ignore[arg-type]  # as given
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


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that gateways of this test export to."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def traced(
    door: DoorChoice, collector: Collector
) -> Callable[..., AbstractContextManager[tuple[GatewayUnderTest, grpc.Channel]]]:
    """Starts a gateway that traces; once its context is left, the collector has everything."""

    @contextmanager
    def started(
        share: float = 1.0, **settings: Any
    ) -> Iterator[tuple[GatewayUnderTest, grpc.Channel]]:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with (
            GatewayUnderTest(
                door=door, tracing="otlp", trace_sampling=share, **settings
            ) as gateway,
            grpc.insecure_channel(gateway.address, options) as channel,
        ):
            yield gateway, channel

    return started
