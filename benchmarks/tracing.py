"""What tracing costs a gateway: microseconds of CPU per request, on its way and for its spans.

A request of one row goes from the dataplane to the worker's end of a link and back to its answer, in one
thread and without gRPC and model: alone in its batch, which is the most that there is to trace. Then
what was noted of it is made into spans and sent to a collector in this process. The least of the
rounds is told.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import thread_time_ns
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from request_steps.path import Call

from inferd.core.link.messages import (
    AddDeployment,
    AddInstance,
    BatchDone,
    FromLinkedWorker,
    OpenArena,
    Pinning,
    PublishModel,
    ToLinkedWorker,
    VersionState,
)
from inferd.core.link.sockets import MessageSocket, socket_pair
from inferd.core.telemetry.sampling import never
from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.tracing.dataplane import TracedDataplane
from inferd.server.gateway.tracing.exporters import open_exporter
from inferd.server.gateway.tracing.tracer import Tracer
from inferd.server.gateway.tracing.writer import AT_ONCE, SpanWriter
from inferd.wire.signature import Axis, Signature, TensorSpec

Headers = tuple[tuple[str, str], ...]

PARENT = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
AGENT = ("user-agent", "grpc-python/1.78.0 grpc-c/52.0.0 (linux; chttp2)")
REQUESTS = 2000
_DIMS = (Axis("batch", 1), 16)


class Path:
    """A dataplane with one model of one worker, whose end of the link is here."""

    def __init__(self, make: Callable[..., Dataplane]) -> None:
        """`make` makes the dataplane."""
        self.dataplane = make(
            max_message_bytes=1 << 20,
            max_request_time=60.0,
            max_arena_bytes=1 << 24,
            drained=_nothing,
            lost=_nothing,
            changed=lambda: None,
        )
        x, y = [(TensorSpec(name, "FP32", _DIMS),) for name in "xy"]
        self.dataplane.add_deployment(
            AddDeployment(
                1,
                "m",
                1,
                "test",
                Signature(x, y, 64),
                False,  # noqa: FBT003  # it takes no parameters
                100,
                0.0,
                (Pinning("cpu"),),  # it takes no parameters
            )
        )
        self._infer = self.dataplane.sampled(never, self.dataplane.infer)  # as the door has it
        ours, theirs = socket_pair()
        self.dataplane.attach(AddInstance(1, 1, "cpu"), MessageSocket(ours, FromLinkedWorker))
        self.dataplane.publish(PublishModel("m", (VersionState(1, "READY", "", 1),)))
        self._worker: MessageSocket[object, ToLinkedWorker] = MessageSocket(theirs, ToLinkedWorker)
        ((self._deployment, self._instance),) = self.dataplane._dispatcher._links.values()  # noqa: SLF001  # what its thread has
        message = ModelInferRequest(model_name="m", raw_input_contents=[bytes(64)])
        message.inputs.add(name="x", datatype="FP32", shape=(1, 16))
        self._payload = message.SerializeToString()

    def microseconds(self, metadata: Headers) -> float:
        """CPU time of one request, over `REQUESTS` of them."""
        started = thread_time_ns()
        for _ in range(REQUESTS):
            self._run(Call(self._payload, metadata))
        return (thread_time_ns() - started) / REQUESTS / 1e3

    def _run(self, call: Call) -> None:
        self._infer(call)
        message: Any = self._worker.receive_with_fds()[0]
        if isinstance(message, OpenArena):
            message = self._worker.receive_with_fds()[0]
        began = (1, 2, 3) if message.trace else None
        self._worker.send(BatchDone(message.batch, message.inputs, 1, 1, 1, began))
        self.dataplane._dispatcher._serve(self._deployment, self._instance)  # noqa: SLF001  # what its thread does
        assert call.answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    noted: list[Any] = []
    paths: dict[str, tuple[Path, Headers]] = {"off": (Path(Dataplane), (AGENT,))}
    ways: tuple[tuple[str, float, Headers], ...] = (
        ("on, nothing traced", 0.0, (AGENT,)),
        ("on, nothing traced, as the caller says", 1.0, (AGENT, PARENT)),
        ("on, 1 % traced", 0.01, (AGENT,)),
        ("on, all traced", 1.0, (AGENT,)),
    )
    for title, share, metadata in ways:
        made = partial(TracedDataplane, Tracer(share, noted.append), unexpected)
        paths[title] = (Path(made), metadata)
    costs: dict[str, list[float]] = {title: [] for title in paths}
    for _ in range(rounds):
        for title, (path, metadata) in paths.items():
            costs[title].append(path.microseconds(metadata))
    for title, each in costs.items():
        print(f"{title}: {min(each):.2f} µs on its way")
    print(f"a traced request: {spans_microseconds(noted[-4000:]):.0f} µs for its spans, elsewhere")


def spans_microseconds(noted: list[Any]) -> float:
    """CPU time of the exporting thread for one traced request and its batch."""
    reply = ExportTraceServiceResponse().SerializeToString()
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    export = grpc.unary_unary_rpc_method_handler(lambda *_: reply)
    handler = grpc.method_handlers_generic_handler(service, {"Export": export})
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    writer = SpanWriter(open_exporter("otlp"), Resource({}))
    times = []
    for start in range(0, len(noted) - AT_ONCE, AT_ONCE):
        some = noted[start : start + AT_ONCE]
        started = thread_time_ns()
        writer._export(some)  # noqa: SLF001  # what its thread does
        times.append((thread_time_ns() - started) / (len(some) / 2) / 1e3)
    server.stop(None)
    return min(times)


def _nothing(_: int) -> None:
    """Nobody is to be told."""


if __name__ == "__main__":
    main()
