"""Traces of a real server: from the SDK's caller to the worker, over OTLP and on the console."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer

from inferd.client import Client, connect, connect_async
from support.collector import Collector, Span, names
from support.http import ask
from support.repository import write_code
from support.server import Server

ROW = np.ones((1, 4), np.float32)

CALLS = 5
"""Of one kind: on a busy machine a message may take its time, and the quickest of them counts."""


@contextmanager
def caller(collector: Collector) -> Iterator[Tracer]:
    """Makes spans of a calling program, exported to the same collector."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(collector.endpoint, insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def write_models(folder: Path, told: Path) -> None:
    """`steady` computes for 200 ms and notes its trace context; `twice` yields two answers."""
    write_code(
        folder / "steady",
        f"""
        import time
        from inferd.worker.model import current_traceparent

        class Steady(Model):
            def predict(self, x):
                if x.sum() > 0:
                    time.sleep(0.2)
                    with open({str(told)!r}, "a") as file:
                        print(current_traceparent(), file=file)
                return x
        """,
    )
    write_code(
        folder / "twice",
        """
        class Twice(Model):
            def predict(self, x):
                yield x
                yield x
        """,
    )


def check_sum(whole: Span, parts: list[Span]) -> None:
    """They begin within it and add up to it within 5 %."""
    assert all(whole.start <= each.start < whole.end for each in parts)
    assert sum(each.ns for each in parts) == pytest.approx(whole.ns, rel=0.05)


def call_in_every_way(server: Server, client: Client, tracer: Tracer) -> None:
    """With a span, and without one."""
    steady, twice = client.model("steady"), client.model("twice")
    steady.infer(ROW)  # fetches the signature, and is nobody's
    with tracer.start_as_current_span("called"):
        for _ in range(CALLS):
            steady.infer(ROW, request_id="called")
    assert len(list(twice.stream(ROW))) == 2
    with tracer.start_as_current_span("streamed"):
        assert len(list(twice.stream(ROW))) == 2
    with tracer.start_as_current_span("mapped"):
        assert len(list(steady.map([ROW, ROW]))) == 2

    async def call() -> None:
        async with connect_async(server.address) as other:
            model = other.model("steady")
            await model.infer(ROW)
            with tracer.start_as_current_span("awaited"):
                for _ in range(CALLS):
                    await model.infer(ROW, request_id="awaited")

    asyncio.run(call())


def test_a_trace_goes_from_the_caller_to_the_worker(tmp_path: Path) -> None:
    """Each way of calling; its parts add up; without a span of the caller's nothing is traced."""
    told = tmp_path / "told"
    models = tmp_path / "models"
    write_models(models, told)
    options = (
        "--trust",
        "steady",
        "--trust",
        "twice",
        "--tracing",
        "otlp",
        "--trace-sampling",
        "0",
    )
    with Collector() as collector, caller(collector) as tracer:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        with (
            Server(tmp_path, [models], *options, environment=variables) as server,
            connect(server.address) as client,
        ):
            call_in_every_way(server, client, tracer)
    callers = {
        each.name: each for each in collector.spans if each.resource["service.name"] != "shop"
    }
    assert set(callers) == {"called", "streamed", "mapped", "awaited"}
    roots = collector.roots()
    assert {(each.trace, each.parent) for each in roots} == {
        (each.trace, each.id) for each in callers.values()
    }
    assert len(roots) == CALLS + 1 + 2 + CALLS
    assert roots[0].resource["deployment.environment.name"] == "test"
    for name in ("called", "awaited"):
        found = collector.roots(request_id=name)
        assert len(found) == CALLS
        for root in found:
            # The gateway may be put to sleep after it has answered: its end says nothing here.
            assert callers[name].start <= root.start < callers[name].end
            check_sum(root, collector.below(root))
        part = min((collector.below(each, "batch")[0] for each in found), key=lambda each: each.ns)
        worked = [each for each in collector.below(part) if each.name != "execute"]
        assert names(worked) == ["copy in", "compute", "copy out"]
        check_sum(part, worked)
        assert worked[1].ns >= 200e6
    check_other_ways(collector, callers, told)


def check_other_ways(collector: Collector, callers: dict[str, Span], told: Path) -> None:
    """A stream's answers, a job's chunks, and what the model itself has seen."""
    (streamed,) = collector.below(callers["streamed"])
    assert streamed.name == "inference.GRPCInferenceService/ModelStreamInfer"
    # The third says that there are no more: the SDK asks for it.
    assert streamed.events == ("answer",) * 3
    chunks = collector.below(callers["mapped"])
    assert names(chunks) == ["inferd.v1.BulkInference/Infer"] * 2
    seen = told.read_text().splitlines()
    batches = {
        f"00-{each.trace}-{each.id}-01"
        for each in collector.batches()
        if each.attributes["inferd.model"] == "steady"
    }
    assert set(seen) == batches | {"None"}


def test_spans_on_the_console(tmp_path: Path) -> None:
    """One line of JSON each, in the log; with a share of 1 every request has its own."""
    write_models(tmp_path / "models", tmp_path / "told")
    options = (
        "--trust",
        "steady",
        "--tracing",
        "console",
        "--trace-sampling",
        "1",
    )
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0] * 4}]}
    with Server(tmp_path, [tmp_path / "models" / "steady"], *options) as server:
        for _ in range(3):
            assert ask(server.http, "/v2/models/steady/infer", body).status == 200
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
    roots = [each for each in lines if each.get("kind") == "SPAN_KIND_SERVER"]
    assert [each["name"] for each in roots] == ["POST /v2/models/{name}/infer"] * 3
    assert {each["attributes"]["inferd.model"] for each in roots} == {"steady"}
    assert len({each["traceId"] for each in roots}) == 3
