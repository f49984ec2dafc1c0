"""Health, metadata, statistics and the repository over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Callable

import grpc
import pytest

from inferd.core.link.messages import (
    CommandAnswer,
    Fault,
    PublishServer,
    RepositoryCommand,
    VersionState,
)
from inferd.protos import oip_pb2 as oip
from support.calls import ROWS, call
from support.decoupled import ask as stream
from support.decoupled import asked, deploy
from support.gateway import GatewayUnderTest
from support.generating_worker import GeneratingWorker
from support.http import ask, begin, end
from support.link_worker import LinkWorker

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}


def test_health_is_truthful(gateway: GatewayUnderTest) -> None:
    """Live as long as it answers; ready, it and its models, when a request would be executed."""
    assert ask(gateway.http, "/v2/health/live").document == {"live": True}
    assert ask(gateway.http, "/v2/health/ready").status == 200
    gateway.control.send(PublishServer(ready=False))
    gateway.settle()
    assert ask(gateway.http, "/v2/health/ready").status == 503
    assert ask(gateway.http, "/v2/health/live").status == 200
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.deploy("idle", ROWS, [])
    gateway.publish("loading", VersionState(1, "LOADING", "", None))
    expected = {
        "m": 200,
        "m/versions/1": 200,
        "m/versions/2": 404,
        "m/versions/x": 400,
        "idle": 503,
        "loading": 503,
        "unknown": 404,
    }
    for name, status in expected.items():
        assert ask(gateway.http, f"/v2/models/{name}/ready").status == status, name


def test_what_cannot_be_read_is_counted_as_failed(gateway: GatewayUnderTest) -> None:
    """Of the model that was named: whoever watches its errors must see such callers, too."""
    gateway.deploy("m", ROWS, [LinkWorker()])

    def failed() -> object:
        (found,) = ask(gateway.http, "/v2/models/m/stats").document["model_stats"]
        return int(found["inference_stats"].get("fail", {}).get("count", 0))

    assert failed() == 0
    assert ask(gateway.http, "/v2/models/m/infer", b"no JSON").status == 400
    assert ask(gateway.http, "/v2/models/absent/infer", b"{}").status == 404
    assert failed() == 1
    assert ask(gateway.http, "/v2/models/m/infer", method="GET").status == 405
    assert ask(gateway.http, "/v2/models/m/ready", b"{}").status == 405  # asks for no inference
    assert failed() == 2


def test_what_is_told_is_what_grpc_tells(gateway: GatewayUnderTest) -> None:
    """Metadata, configuration, statistics and index have the same fields and values."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    assert ask(gateway.http, "/v2/models/m/infer", ROW).status == 200
    with grpc.insecure_channel(gateway.address) as channel:

        def told(method: str, request: bytes = b"") -> bytes:
            return call(channel, request, method).payload

        named = oip.ModelMetadataRequest(name="m").SerializeToString()
        server = oip.ServerMetadataResponse.FromString(told("ServerMetadata"))
        metadata = oip.ModelMetadataResponse.FromString(told("ModelMetadata", named))
        config = oip.ModelConfigResponse.FromString(told("ModelConfig", named)).config
        statistics = oip.ModelStatisticsResponse.FromString(told("ModelStatistics", named))
    document = ask(gateway.http, "/v2").document
    assert document["extensions"] == list(server.extensions)
    assert (document["name"], document["version"]) == (server.name, server.version)
    document = ask(gateway.http, "/v2/models/m").document
    assert document["versions"] == ["1"]
    assert document["platform"] == metadata.platform
    assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]
    document = ask(gateway.http, "/v2/models/m/config").document
    assert document["max_batch_size"] == config.max_batch_size
    assert document["input"][0]["data_type"] == "TYPE_FP32"
    assert document["input"][0]["dims"] == [-1]
    assert document["model_transaction_policy"] == {"decoupled": False}
    assert "default_queue_policy" in document["dynamic_batching"]
    for path in ("/v2/models/m/stats", "/v2/models/m/versions/1/stats", "/v2/models/stats"):
        (of_model,) = ask(gateway.http, path).document["model_stats"]
        (expected,) = statistics.model_stats
        assert of_model["inference_count"] == expected.inference_count == 1
        assert of_model["last_inference"] == expected.last_inference
        spent = expected.inference_stats.compute_infer
        found = of_model["inference_stats"]["compute_infer"]
        assert found == {"count": spent.count, "ns": spent.ns}
        assert of_model["batch_stats"][0]["batch_size"] == 1


def test_answers_of_a_model_that_yields_are_told_by_index(gateway: GatewayUnderTest) -> None:
    """As gRPC tells them; ordinary models have none."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    deploy(gateway, GeneratingWorker())
    with grpc.insecure_channel(gateway.address) as channel:
        stream(channel, asked(times=1))
    found, others = ask(gateway.http, "/v2/models/stats").document["model_stats"]
    assert (found["name"], others["response_stats"]) == ("g", {})
    stats = found["response_stats"]
    assert sorted(stats) == ["0", "1"]
    assert stats["0"]["success"] == {"count": 1, "ns": 11}
    assert (stats["0"]["empty_response"], stats["1"]["empty_response"]["count"]) == (
        {"count": 0, "ns": 0},
        1,
    )


def test_the_repository_is_listed(gateway: GatewayUnderTest) -> None:
    """All of it, or what is ready, with reasons."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.publish("broken", VersionState(2, "UNAVAILABLE", "no such file", None))
    whole = ask(gateway.http, "/v2/repository/index", b"").document
    broken, ready = whole
    assert broken == {
        "name": "broken",
        "version": "2",
        "state": "UNAVAILABLE",
        "reason": "no such file",
    }
    assert ask(gateway.http, "/v2/repository/index", {"ready": True}).document == [ready]
    assert ask(gateway.http, "/v2/repository/index", {"ready": 1}).status == 400
    assert ask(gateway.http, "/v2/repository/index", b"\xff").status == 400


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_models_are_loaded_and_unloaded(gateway: GatewayUnderTest, verb: str) -> None:
    """The supervisor is asked, and its answer is the caller's."""
    for fault, status in ((None, 200), (Fault("LOAD_FAILED", "no such file"), 400)):
        connection = http.client.HTTPConnection(gateway.http, timeout=20)
        begin(connection, f"/v2/repository/models/m/{verb}", {"parameters": {}})
        asked = gateway.expect(RepositoryCommand)
        assert (asked.verb, asked.model) == (verb, "m")
        gateway.control.send(CommandAnswer(asked.command, fault))
        outcome = end(connection)
        connection.close()
        assert outcome.status == status
        if fault is not None:
            assert outcome.document == {"error": "no such file", "reason": "LOAD_FAILED"}


def test_models_are_loaded_from_the_operators_files_only(gateway: GatewayUnderTest) -> None:
    """What a caller sends along is refused, and so are pages in a browser on this machine."""
    path = "/v2/repository/models/m/load"
    assert ask(gateway.http, path, {"parameters": {"config": "{}"}}).status == 501
    outcome = ask(gateway.http, path, b"", {"Origin": "http://example.org"})
    assert (outcome.status, outcome.document["reason"]) == (403, "FORBIDDEN")


def test_without_repository_control_nothing_is_loaded(
    start: Callable[..., GatewayUnderTest],
) -> None:
    """The operator has switched it off for both doors."""
    gateway = start(repository_control=False)
    for verb in ("load", "unload"):
        outcome = ask(gateway.http, f"/v2/repository/models/m/{verb}", b"")
        assert (outcome.status, outcome.document["reason"]) == (403, "FORBIDDEN")


def test_other_paths_and_methods_are_refused(gateway: GatewayUnderTest) -> None:
    """With what is there instead."""
    for path in (
        "/",
        "/v2/",
        "/v2/models",
        "/v2/models/m/x",
        "/v1/models/m:predict",
        "/v2/models/a%2Fb/c",
    ):
        outcome = ask(gateway.http, path)
        assert (outcome.status, outcome.document["reason"]) == (404, "PATH_NOT_FOUND"), path
        assert "/v2/openapi.json" in outcome.document["error"]
    for path, method, allowed in (
        ("/v2", "POST", "GET, HEAD"),
        ("/v2/models/m/infer", "GET", "POST"),
        ("/v2/models/m/infer", "PUT", "POST"),
        ("/v2/repository/index", "GET", "POST"),
    ):
        outcome = ask(gateway.http, path, method=method)
        assert outcome.status == 405
        assert set(outcome.headers["allow"].split(", ")) == set(allowed.split(", "))
    head = ask(gateway.http, "/v2/health/ready", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert "date" in head.headers


def test_a_gateway_without_http_does_not_carry_it() -> None:
    """Neither a port nor the libraries."""
    with GatewayUnderTest() as gateway:
        assert gateway.http == ""
