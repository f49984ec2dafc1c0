"""Traced requests on streams and over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import grpc

from support.calls import ROWS, rows
from support.collector import CALLER, SAMPLED, TRACE, UNSAMPLED, Collector, check_whole
from support.conversation import Conversation
from support.decoupled import asked, deploy
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker
from support.http import ask as ask_http
from support.link_worker import LinkWorker

Traced = Callable[..., AbstractContextManager[tuple[GatewayUnderTest, grpc.Channel]]]


def test_each_request_of_a_stream_is_a_trace_part(traced: Traced, collector: Collector) -> None:
    """Below the stream's caller, each with its own spans; many answers are events of theirs."""
    with traced(0.0) as (gateway, channel):
        gateway.deploy("m", ROWS, [LinkWorker()])
        deploy(gateway, GeneratingWorker())
        stream = Conversation(channel, metadata=SAMPLED)
        stream.send(rows([[1]], id="one"), rows([[2]], id="two"), rows([[2]], model="nobody"))
        stream.send(asked("many", times=3), asked("breaks", times=1, fail=True))
        stream.half_close()
        assert len(stream.rest()) == 2 + 1 + 3 + 2
        silent = Conversation(channel, metadata=UNSAMPLED)
        silent.send(rows([[1]], id="silent"))
        silent.half_close()
        assert len(silent.rest()) == 1
    roots = collector.roots()
    assert {each.name for each in roots} == {"inference.GRPCInferenceService/ModelStreamInfer"}
    assert {(each.trace, each.parent) for each in roots} == {(TRACE, CALLER)}
    assert len(roots) == 5
    for name in ("one", "two"):
        check_whole(
            collector, collector.root(request_id=name), ["admit", "queue", "batch", "answer"]
        )
    many = collector.root(request_id="many")
    assert many.events == ("answer",) * 3
    assert many.attributes["inferd.answers"] == 3
    check_whole(collector, many, ["admit", "queue", "batch", "answer"])
    assert collector.root(request_id="breaks").error == "MODEL_ERROR"
    assert [each.error for each in collector.roots(model="nobody")] == ["MODEL_NOT_FOUND"]


def test_over_http_the_header_counts(traced: Traced, collector: Collector) -> None:
    """The span has the route and the status, and begins when the request is read."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    with traced(0.0, http=True) as (gateway, _):
        gateway.deploy("m", ROWS, [LinkWorker()])
        for body in ({"inputs": [tensor]}, {"inputs": [{**tensor, "name": "z"}]}):
            ask_http(gateway.http, "/v2/models/m/infer", body, dict(SAMPLED))
        ask_http(gateway.http, "/v2/models/m/versions/1/infer", {"inputs": [tensor]}, dict(SAMPLED))
        ask_http(gateway.http, "/v2/models/m/infer", {"inputs": [tensor]})
        ask_http(gateway.http, "/v2/models/m/infer", {"inputs": [tensor]}, dict(UNSAMPLED))
    well, wrong, named = collector.roots()
    assert well.name == "POST /v2/models/{name}/infer"
    assert (well.trace, well.parent) == (TRACE, CALLER)
    assert well.attributes == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{name}/infer",
        "http.response.status_code": 200,
        "inferd.model": "m",
        "inferd.version": "1",
        "inferd.rows": 1,
    }
    check_whole(collector, well, ["admit", "queue", "batch", "answer"])
    assert wrong.attributes["http.response.status_code"] == 400
    assert wrong.error == wrong.attributes["error.type"]
    assert named.attributes["http.route"] == "/v2/models/{name}/versions/{version}/infer"
