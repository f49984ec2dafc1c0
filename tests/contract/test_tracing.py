"""Traced requests: their spans at a collector, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
import pytest

from inferd.core.link.messages import DoorChoice
from inferd.protos.oip_pb2 import ModelInferRequest
from support.calls import ROWS, begin, call, request, rows, values_of
from support.collector import CALLER, SAMPLED, TRACE, UNSAMPLED, Collector, check_whole, names
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

Traced = Callable[..., AbstractContextManager[tuple[GatewayUnderTest, grpc.Channel]]]


def test_a_request_is_one_trace(traced: Traced, collector: Collector) -> None:
    """Its parts are the whole of it, and the worker's are where they were; nothing else is there."""
    with traced() as (gateway, channel):
        gateway.deploy("m", ROWS, [worker := LinkWorker()])
        assert values_of(call(channel, rows([[1], [2]], id="r7"))) == [[1], [2]]
    root = collector.root()
    assert root.name == "inference.GRPCInferenceService/ModelInfer"
    assert root.parent == ""
    assert root.error is None
    assert root.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "inferd.model": "m",
        "inferd.version": "1",
        "inferd.request_id": "r7",
        "inferd.rows": 2,
    }
    assert root.resource["service.name"] == "inferd"
    part = check_whole(collector, root, ["admit", "queue", "batch", "answer"])[2]
    worked = [each for each in collector.below(part) if each.name != "execute"]
    assert [(each.name, each.ns) for each in worked] == [
        ("copy in", 1000),
        ("compute", 2000),
        ("copy out", 3000),
    ]
    assert part.start <= worked[0].start
    (batch,) = collector.batches()
    assert (batch.parent, batch.start, batch.end) == (part.id, part.start, part.end)
    assert part.links == ((batch.trace, batch.id),)
    assert batch.links == ((root.trace, root.id),)
    assert batch.attributes == part.attributes
    assert batch.attributes["inferd.batch.rows"] == 2
    assert batch.attributes["inferd.device"] == "cpu"
    assert worker.traces == [bytes.fromhex(batch.trace + batch.id)]
    assert len({each.id for each in collector.spans}) == len(collector.spans) == 9
    assert {each.trace for each in collector.spans} == {root.trace}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_caller_decides_where_it_says(
    traced: Traced, collector: Collector, share: float
) -> None:
    """Both ways, over any share; of the others, and of those whose context is none, it decides."""
    with traced(share) as (gateway, channel):
        gateway.deploy("m", ROWS, [worker := LinkWorker()])
        call(channel, rows([[1]], id="sampled"), metadata=SAMPLED)
        call(channel, rows([[1]], id="unsampled"), metadata=UNSAMPLED)
        call(channel, rows([[1]], id="broken"), metadata=(("traceparent", "00-0-0-01"),))
        call(channel, rows([[1]], id="long"), metadata=(("traceparent", "0" * 5000),))
        call(channel, rows([[1]], id="nothing"))
    told = {each.attributes["inferd.request_id"]: each for each in collector.roots()}
    others = {"broken", "long", "nothing"} if share else set()
    assert set(told) == {"sampled"} | others
    assert (told["sampled"].trace, told["sampled"].parent) == (TRACE, CALLER)
    assert all(not told[name].parent and told[name].trace != TRACE for name in others)
    heard = [each is not None for each in worker.traces]
    assert heard == [True, False, *[bool(share)] * 3]


def test_a_batch_links_all_its_traced_requests(traced: Traced, collector: Collector) -> None:
    """And no other; each of them knows the batch, and is a trace of its own."""
    with traced(0.0) as (gateway, channel):
        gateway.deploy("m", ROWS, [worker := LinkWorker()])
        worker.go.clear()
        first = begin(channel, rows([[0]]))
        assert worker.arrived.acquire(timeout=10)
        other = (("traceparent", f"00-{'a' * 32}-{CALLER}-01"),)
        waiting = [
            begin(channel, rows([[1]])),
            begin(channel, rows([[2]], id="a"), metadata=SAMPLED),
            begin(channel, rows([[3]], id="b"), metadata=other),
        ]
        # They wait by now: what is sent on one connection arrives in its order.
        assert call(channel, b"", "ServerLive").code is grpc.StatusCode.OK
        worker.go.set()
        for each in (first, *waiting):
            assert each.outcome().code is grpc.StatusCode.OK
    assert worker.batches == [1, 3]
    (batch,) = collector.batches()
    roots = [collector.root(request_id=name) for name in "ab"]
    assert [root.trace for root in roots] == [TRACE, "a" * 32]
    assert batch.links == tuple((root.trace, root.id) for root in roots)
    assert (batch.attributes["inferd.batch.rows"], batch.attributes["inferd.batch.requests"]) == (
        3,
        3,
    )
    for root in roots:
        (part,) = collector.below(root, "batch")
        assert part.links == ((batch.trace, batch.id),)
        assert part.attributes["inferd.batch.id"] == batch.attributes["inferd.batch.id"]
        assert names(each for each in collector.below(part) if each.name != "execute") == [
            "copy in",
            "compute",
            "copy out",
        ]
    assert worker.traces == [None, bytes.fromhex(batch.trace + batch.id)]


def test_a_request_in_parts_has_a_span_for_each_batch(traced: Traced, collector: Collector) -> None:
    """And says how many there were."""
    with traced() as (gateway, channel):
        gateway.deploy("m", ROWS, [worker := LinkWorker()])
        assert len(values_of(call(channel, rows([[n] for n in range(9)])))) == 9
    root = collector.root(rows=9)
    parts = collector.below(root, "batch")
    assert len(parts) == len(worker.messages) == len(collector.batches())
    assert sum(each.attributes["inferd.batch.rows"] for each in parts) == 9
    assert root.attributes.get("inferd.batches", 1) == len(parts)
    assert collector.below(root, "answer")[0].end == root.end


def failing(inputs: Any, parameters: object) -> Any:
    """A model that raises, with the caller's value in its text."""
    raise ValueError(str(inputs[0].raw))


def test_failures_say_why(traced: Traced, collector: Collector) -> None:
    """By the reason of their errors, at whichever step; never by a text that may hold values."""
    with traced(max_request_time=5.0) as (gateway, channel):
        gateway.deploy("m", ROWS, [held := LinkWorker()], max_queue_size=1)
        gateway.deploy("broken", ROWS, [LinkWorker(failing)])
        call(channel, b"\xff\xff", metadata=())
        call(channel, rows([[1]], model="nobody", id="unknown"))
        call(
            channel,
            request("m", ("z", "FP32", (1, 1)), raw=[bytes(4)], id="name").SerializeToString(),
        )
        call(channel, rows([[1]], model="broken", id="model"))
        held.go.clear()
        first = begin(channel, rows([[0]], id="lost"))
        assert held.arrived.acquire(timeout=10)
        late = ModelInferRequest.FromString(rows([[1]], id="late"))
        late.parameters["timeout"].int64_param = 1
        call(channel, late.SerializeToString())
        waiting = begin(channel, rows([[0]], id="waits"))
        assert call(channel, b"", "ServerLive").code is grpc.StatusCode.OK
        call(channel, rows([[1]], id="full"))
        held.die()
        assert first.outcome().reason == waiting.outcome().reason == "WORKER_LOST"
    told = {
        each.attributes.get("inferd.request_id", ""): (
            each.attributes["rpc.response.status_code"],
            each.error,
            names(collector.below(each)),
        )
        for each in collector.roots()
    }
    steps = ["admit", "queue", "batch", "answer"]
    assert told == {
        "": ("INVALID_ARGUMENT", "MALFORMED_MESSAGE", ["admit"]),
        "unknown": ("NOT_FOUND", "MODEL_NOT_FOUND", ["admit"]),
        "name": ("INVALID_ARGUMENT", told["name"][1], ["admit"]),
        "model": ("INTERNAL", "MODEL_ERROR", steps),
        "late": ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", ["admit", "queue"]),
        "full": ("RESOURCE_EXHAUSTED", "QUEUE_FULL", ["admit", "queue"]),
        "lost": ("UNAVAILABLE", "WORKER_LOST", steps),
        "waits": ("UNAVAILABLE", "WORKER_LOST", ["admit", "queue"]),
    }
    for each in collector.roots():
        assert each.attributes["error.type"] == each.error
    assert {each.error for each in collector.batches()} == {"MODEL_ERROR", "WORKER_LOST"}


def test_a_caller_that_leaves_is_seen(traced: Traced, collector: Collector) -> None:
    """Its trace ends when it goes; the batch, which goes on, tells its own end."""
    with traced() as (gateway, channel):
        gateway.deploy("m", ROWS, [worker := LinkWorker()])
        worker.go.clear()
        begun = begin(channel, rows([[1]], id="gone"))
        assert worker.arrived.acquire(timeout=10)
        begun.cancel()
        gone = collector.wait_for("inferd.request_id", "gone")
        worker.go.set()
        assert values_of(call(channel, rows([[3]]))) == [[3]]
    assert (gone.error, gone.attributes["rpc.response.status_code"]) == ("CANCELLED", "CANCELLED")
    assert names(collector.below(gone)) == ["admit", "queue", "batch"]
    batch = collector.batches()[0]
    assert batch.error is None
    assert batch.end > gone.end


def test_a_collector_that_is_gone_stops_nobody(
    door: DoorChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered, and the gateway ends in time."""
    with Collector() as collector:
        endpoint = collector.endpoint
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with (
        GatewayUnderTest(door=door, tracing="otlp", trace_sampling=1.0) as gateway,
        grpc.insecure_channel(gateway.address) as channel,
    ):
        gateway.deploy("m", ROWS, [LinkWorker()])
        for n in range(100):
            assert values_of(call(channel, rows([[n]]))) == [[n]]
