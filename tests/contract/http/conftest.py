"""A gateway that speaks HTTP beside gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.gateway import GatewayUnderTest


@pytest.fixture
def start() -> Iterator[Callable[..., GatewayUnderTest]]:
    """Starts gateways with the settings given."""
    with ExitStack() as stack:

        def starts(**settings: object) -> GatewayUnderTest:
            return stack.enter_context(GatewayUnderTest(http=True, **settings))  # type: ignore[arg-type]  # as given

        yield starts


@pytest.fixture
def gateway(start: Callable[..., GatewayUnderTest]) -> GatewayUnderTest:
    """One without models."""
    return start()
