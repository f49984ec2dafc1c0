"""Where the doors truly differ; in all else the suite holds them to the same."""

from __future__ import annotations

from typing import cast

import grpc
import pytest

from inferd.core.link.messages import DoorChoice
from support.calls import ROWS, begin, call, outcome_of, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

NO_TEXT = cast("str", b"/\xff\xfe/Method")  # grpcio takes bytes as well


@pytest.mark.parametrize("times", [1, 3])
def test_a_path_that_is_no_text_stops_nothing(
    gateway: GatewayUnderTest, channel: grpc.Channel, door: DoorChoice, times: int
) -> None:
    """It ends a server of grpc.aio, which drops the call: a new one is there at the same address.

    The completion queue answers as for any unknown method. Calls in flight go on on both.
    """
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = begin(channel, rows([[7]]))
    assert worker.arrived.acquire(timeout=10)
    for _ in range(times):
        with grpc.insecure_channel(
            gateway.address,
            [
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
            ],
        ) as other:
            method = other.unary_unary(NO_TEXT, bytes, bytes)
            with pytest.raises(grpc.RpcError) as caught:
                method(b"", timeout=20, wait_for_ready=True)
            while call(other, b"", "ServerLive").code is not grpc.StatusCode.OK:
                pass
        outcome = outcome_of(caught.value)
        if door == "completion_queue":
            assert (outcome.code.name, outcome.reason) == ("UNIMPLEMENTED", "UNIMPLEMENTED")
        else:
            assert outcome.code in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    worker.go.set()
    assert values_of(begun.outcome()) == [[7]]
