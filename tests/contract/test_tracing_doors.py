"""Traced requests on streams and over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import grpc
from structlog.testing import capture_logs

from support.bulk import BulkConversation
from support.calls import ROWS, call, rows
from support.collector import CALLER, SAMPLED, TRACE, UNSAMPLED, Collector, check_whole
from support.conversation import Conversation
from support.decoupled import asked, deploy
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker
from support.http import ask as ask_http
from support.link_worker import LinkWorker

_EACH = 40
"""Requests of which half are drawn: not one in 2^40 times none of them."""

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


def test_what_http_refuses_is_traced_like_the_rest(traced: Traced, collector: Collector) -> None:
    """Its span ends with the error, below the caller's; without its flag and share there is none."""
    model, named = "/v2/models/m/infer", "/v2/models/m/versions/1/infer"
    long = {"inputs": [], "id": "x" * 2000}
    with (
        capture_logs() as lines,
        traced(0.0, http=True, max_message_bytes=1024, access_log=1.0) as (gateway, _),
    ):
        gateway.deploy("m", ROWS, [LinkWorker()])
        told = [
            ask_http(gateway.http, path, body, {**headers, **dict(SAMPLED)}, method=method).status
            for path, body, headers, method in (
                (model, b"{", {}, "POST"),
                (named, long, {}, "POST"),
                (model, b"{}", {"Content-Encoding": "br"}, "POST"),
                ("/v2/models/nobody/infer", b"{}", {}, "POST"),
                (model, None, {}, "GET"),
                ("/v2/health/live", b"", {}, "POST"),  # no inference
            )
        ]
        ask_http(gateway.http, model, b"{")
        ask_http(gateway.http, model, b"{", dict(UNSAMPLED))
    roots = collector.roots()
    assert [each.attributes["http.response.status_code"] for each in roots] == told[:-1]
    assert told == [400, 413, 415, 404, 405, 405]
    assert [each.error for each in roots] == [
        "MALFORMED_MESSAGE", "MESSAGE_TOO_LARGE", "ENCODING_UNKNOWN", "MODEL_NOT_FOUND",
        "METHOD_NOT_ALLOWED",
    ]  # fmt: skip
    assert {(each.trace, each.parent) for each in roots} == {(TRACE, CALLER)}
    assert [each.name for each in roots[:2]] == [
        "POST /v2/models/{name}/infer", "POST /v2/models/{name}/versions/{version}/infer",
    ]  # fmt: skip
    assert roots[4].name == "GET /v2/models/{name}/infer"
    assert [each.attributes["inferd.model"] for each in roots] == ["m", "m", "m", "nobody", "m"]
    check_whole(collector, roots[0], ["admit"])
    logged = [each for each in lines if each.get("dataset") == "inferd.access"]
    assert [each.get("span_id") for each in logged] == [
        *(each.id for each in roots), None, None,
    ]  # fmt: skip


def test_what_is_logged_is_traced_first(traced: Traced, collector: Collector) -> None:
    """Whichever door it came through: with the same share of both each line leads to a trace, and
    nothing else is traced, so that half of the requests are.
    """
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    with (
        capture_logs() as lines,
        traced(0.5, http=True, access_log=0.5) as (gateway, channel),
    ):
        gateway.deploy("m", ROWS, [LinkWorker()])
        stream, bulk = Conversation(channel), BulkConversation(channel)
        bulk.opened()
        for number in range(_EACH):
            call(channel, rows([[1]], id="unary"))
            stream.send(rows([[1]], id="stream"))
            bulk.send(number, rows([[1]], model="", id="bulk"))
            ask_http(gateway.http, "/v2/models/m/infer", {"inputs": [tensor], "id": "http"})
            ask_http(gateway.http, "/v2/models/m/infer", b"{")  # refused before it has an id
        for each in (stream, bulk):
            each.half_close()
            assert len(each.rest()) == _EACH
    roots = collector.roots()
    logged = [each for each in lines if each.get("dataset") == "inferd.access"]
    found = {
        each.get("span_id"): (each.get("trace_id"), each.get("request_id", "")) for each in logged
    }
    assert found == {
        each.id: (each.trace, each.attributes.get("inferd.request_id", "")) for each in roots
    }
    assert {door for _, door in found.values()} == {"unary", "stream", "bulk", "http", ""}


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
