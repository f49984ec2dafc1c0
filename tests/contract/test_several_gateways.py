"""What a gateway does as one of several: counts for all, and accepts calls when it knows enough."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from inferd.core.link.messages import (
    BatchCounts,
    MemoryUsage,
    OpenDoor,
    PublishServer,
    Spent,
    VersionCounts,
    VersionMemory,
)
from inferd.protos import oip_pb2 as oip
from support.calls import ROWS, begin, call, rows
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def statistics(channel: grpc.Channel) -> list[oip.ModelStatistics]:
    """The counts of all models."""
    outcome = call(channel, b"", "ModelStatistics")
    assert outcome.code is grpc.StatusCode.OK, outcome
    return list(oip.ModelStatisticsResponse.FromString(outcome.payload).model_stats)


def test_what_others_counted_is_added(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Counts, times and batch sizes; models that only others know are not listed."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    assert call(channel, rows([[0]])).code is grpc.StatusCode.OK
    spent = Spent(10, 1_000_000)
    late = 1 << 50
    gateway.other_counts = (
        VersionCounts(
            "m",
            1,
            inference_count=20,
            execution_count=10,
            last_inference=late,
            success=spent,
            fail=Spent(2, 3),
            queue=spent,
            compute_input=spent,
            compute_infer=spent,
            compute_output=spent,
            batches={1: BatchCounts(spent, spent, spent), 2: BatchCounts(spent, spent, spent)},
        ),
        VersionCounts("m", 2, execution_count=1),
        VersionCounts("other", 1, execution_count=1),
    )
    (found,) = statistics(channel)
    assert (found.name, found.version, found.last_inference) == ("m", "1", late)
    assert (found.inference_count, found.execution_count) == (21, 11)
    of = found.inference_stats
    assert (of.success.count, of.fail.count, of.fail.ns) == (11, 2, 3)
    assert (of.compute_infer.count, of.compute_infer.ns) == (11, 1_002_000)
    batches = {each.batch_size: each.compute_infer.count for each in found.batch_stats}
    assert batches == {1: 11, 2: 10}


def test_memory_is_what_the_supervisor_says(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Of each version its own, in the protocol's words; nothing where nobody knows."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    (found,) = statistics(channel)
    assert list(found.memory_usage) == []
    usage = MemoryUsage("CPU", 0, 6 << 30), MemoryUsage("GPU", 1, 80 << 30)
    gateway.memory = (
        VersionMemory("m", 1, usage),
        VersionMemory("m", 2, (MemoryUsage("CPU", 0, 1),)),
        VersionMemory("n", 1, (MemoryUsage("CPU", 0, 2),)),
    )
    (found,) = statistics(channel)
    assert [(each.type, each.id, each.byte_size) for each in found.memory_usage] == [
        ("CPU", 0, 6 << 30),
        ("GPU", 1, 80 << 30),
    ]


def test_calls_wait_until_the_gateway_knows_what_is_served(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]],
) -> None:
    """One that comes back would tell early callers that it is not ready."""
    gateway, channel = start(opened=False)
    begun = begin(channel, b"", "ServerReady")
    gateway.settle()
    assert not begun.future.done()
    gateway.control.send(PublishServer(ready=True))
    gateway.control.send(OpenDoor())
    assert oip.ServerReadyResponse.FromString(begun.outcome().payload).ready
