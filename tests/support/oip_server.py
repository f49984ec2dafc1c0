"""A small inference server on plain grpcio: identity models, and any fault on demand."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from inferd.protos import oip_pb2 as oip
from inferd.protos.services import INFERENCE_METHODS, INFERENCE_SERVICE, Method
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest, ModelNotFound, ServingError, Unimplemented
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.status import code_of, message_of, trailers_of

_OPTIONS = [("grpc.so_reuseport", 0)]

BATCH = Axis("batch", 1, 64)


def _identity(datatype: str) -> Signature:
    return Signature(
        (TensorSpec("x", datatype, (BATCH, 2)),), (TensorSpec("y", datatype, (BATCH, 2)),), 64
    )


SIGNATURES: dict[str, Signature] = {
    "echo": Signature(
        (TensorSpec("input", "ANY", None),), (TensorSpec("output", "ANY", None),), 64
    ),
    "pair": Signature(
        (
            TensorSpec("left", "FP32", (BATCH, 3)),
            TensorSpec("right", "INT64", (BATCH, 1)),
            TensorSpec("note", "BYTES", (BATCH, 1), optional=True),
        ),
        (
            TensorSpec("first", "FP32", (BATCH, 3)),
            TensorSpec("second", "INT64", (BATCH, 1)),
            TensorSpec("third", "BYTES", (BATCH, 1)),
        ),
        8,
    ),
    "ids": Signature(
        (TensorSpec("id", "INT64", (BATCH,)),), (TensorSpec("same", "INT64", (BATCH,)),), 64
    ),
    "plain": Signature(
        (TensorSpec("x", "FP32", (2, Axis("n"))),), (TensorSpec("y", "FP32", (2, Axis("n"))),)
    ),
    "counts": Signature((TensorSpec("x", "FP32", (1,)),), (TensorSpec("y", "FP32", (1,)),)),
    "writes": Signature((TensorSpec("x", "BYTES", (1,)),), (TensorSpec("y", "BYTES", (1,)),)),
    **{f"identity-{name.lower()}": _identity(name) for name in DATATYPES},
}
"""Models that answer their inputs: the first input as the first output, and so on."""

DECOUPLED = frozenset({"counts", "writes"})
"""Those that answer as often as parameter `times` says, on ModelStreamInfer alone."""


@dataclass
class OipServer:
    """Serves `SIGNATURES` on a free port; a context manager.

    `faults` are answered one by one instead of the next inferences: errors, or answers as they are.
    `calls` counts the RPCs that arrived, `requests` keeps the inferences.
    """

    signatures: dict[str, Signature] = field(default_factory=lambda: dict(SIGNATURES))
    credentials: grpc.ServerCredentials | None = None
    faults: deque[ServingError | oip.ModelInferResponse] = field(default_factory=deque)
    calls: Counter[str] = field(default_factory=Counter)
    requests: list[oip.ModelInferRequest] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    """Who called: one for each connection."""

    without: set[str] = field(default_factory=set)
    """RPCs that answer UNIMPLEMENTED."""

    streamed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for each of many answers."""

    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released when a stream of many answers has ended, well or not: it takes no fault any more."""

    message_limit: int = -1
    """Bytes of the largest request; -1: any size."""

    port: int = 0
    address: str = ""
    _server: Any = None
    _open: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for each inference that begins to wait in `holding`."""

    def __enter__(self) -> Self:
        self._open.set()
        options = [*_OPTIONS, ("grpc.max_receive_message_length", self.message_limit)]
        self._server = grpc.server(ThreadPoolExecutor(16), options=options)
        handlers = {name: self._handler(each) for name, each in INFERENCE_METHODS.items()}
        generic = grpc.method_handlers_generic_handler(INFERENCE_SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        if self.credentials is None:
            port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        else:
            port = self._server.add_secure_port(f"127.0.0.1:{self.port}", self.credentials)
        self._server.start()
        self.address = f"127.0.0.1:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.set()
        self._server.stop(0).wait()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Inferences that arrive meanwhile wait until the end of the block."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def _handler(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        answer: Callable[[Any], Message] | None = getattr(self, f"_{method.name}", None)

        def behave(request: Message, context: grpc.ServicerContext) -> Message:
            self.calls[method.name] += 1
            self.peers.add(context.peer())
            if answer is None or method.name in self.without:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method.name} is not offered")
            try:
                return answer(request)
            except ServingError as error:
                context.set_trailing_metadata(trailers_of(error))
                context.abort(code_of(error), message_of(error))

        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream, method.request.FromString, lambda message: message.SerializeToString()
            )
        return grpc.unary_unary_rpc_method_handler(
            behave, method.request.FromString, lambda message: message.SerializeToString()
        )

    def _stream(
        self, requests: Iterator[oip.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[oip.ModelStreamInferResponse]:
        """ModelStreamInfer: answers in order, errors as messages."""
        self.calls["ModelStreamInfer"] += 1
        self.peers.add(context.peer())
        if "ModelStreamInfer" in self.without:
            next(
                requests, None
            )  # grpc.aio loses a status that comes before its first write is through
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "ModelStreamInfer is not offered")
        true_errors = ("triton_grpc_error", "true") in context.invocation_metadata()
        for request in requests:
            if request.model_name in DECOUPLED:
                yield from self._answers(request, context, true_errors=true_errors)
                continue
            reply = oip.ModelStreamInferResponse()
            reply.infer_response.id = request.id
            try:
                reply.infer_response.MergeFrom(self._answer(request))
            except ServingError as error:
                reply.error_message = message_of(error)
            yield reply

    def _answers(
        self, request: oip.ModelInferRequest, context: grpc.ServicerContext, *, true_errors: bool
    ) -> Iterator[oip.ModelStreamInferResponse]:
        """Many answers, the end told if that was asked for, or the fault after the first."""
        times = request.parameters.pop("times").int64_param
        self.requests.append(request)
        asked = request.parameters.pop("triton_enable_empty_final_response").bool_param
        try:
            for number in range(times):
                if number == 1 and self.faults:
                    error = self.faults.popleft()
                    assert isinstance(error, ServingError)
                    if true_errors:
                        context.set_trailing_metadata(trailers_of(error))
                        context.abort(code_of(error), message_of(error))
                    yield oip.ModelStreamInferResponse(error_message=message_of(error))
                    return
                self.streamed.release()
                answer = self._reply(request)
                answer.parameters["triton_final_response"].bool_param = False
                yield oip.ModelStreamInferResponse(infer_response=answer)
            if asked:
                final = oip.ModelInferResponse(model_name=request.model_name)
                final.parameters["triton_final_response"].bool_param = True
                yield oip.ModelStreamInferResponse(infer_response=final)
        finally:  # grpc drops the generator of a call that was cancelled
            self.left.release()

    def _ServerLive(self, _: oip.ServerLiveRequest) -> Message:  # noqa: N802 - named like the RPC
        return oip.ServerLiveResponse(live=True)

    def _ServerReady(self, _: oip.ServerReadyRequest) -> Message:  # noqa: N802
        return oip.ServerReadyResponse(ready=True)

    def _ModelReady(self, request: oip.ModelReadyRequest) -> Message:  # noqa: N802
        return oip.ModelReadyResponse(ready=request.name in self.signatures)

    def _ServerMetadata(self, _: oip.ServerMetadataRequest) -> Message:  # noqa: N802
        return oip.ServerMetadataResponse(
            name="oip-server", version="1.2.3", extensions=["statistics"]
        )

    def _ModelMetadata(self, request: oip.ModelMetadataRequest) -> Message:  # noqa: N802
        signature = self._signature(request.name)
        reply = oip.ModelMetadataResponse(name=request.name, versions=["1"], platform="identity")
        for spec in signature.inputs:
            reply.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in signature.outputs:
            reply.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        return reply

    def _ModelConfig(self, request: oip.ModelConfigRequest) -> Message:  # noqa: N802
        signature = self._signature(request.name)
        reply = oip.ModelConfigResponse()
        reply.config.name = request.name
        reply.config.max_batch_size = signature.max_batch_size
        reply.config.model_transaction_policy.decoupled = request.name in DECOUPLED
        for spec in signature.inputs:
            batched = signature.max_batch_size > 0 and spec.dims is not None
            dims = spec.shape[1:] if batched else spec.shape
            reply.config.input.add(name=spec.name, optional=spec.optional, dims=dims)
        return reply

    def _ModelInfer(self, request: oip.ModelInferRequest) -> Message:  # noqa: N802
        if request.model_name in DECOUPLED:
            raise Unimplemented("ModelInfer RPC doesn't support decoupled models")
        return self._answer(request)

    def _answer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        self.requests.append(request)
        if not self._open.is_set():
            self.held.release()
            self._open.wait(10)
        if self.faults:
            fault = self.faults.popleft()
            if isinstance(fault, ServingError):
                raise fault
            return fault
        return self._reply(request)

    def _reply(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        outputs = self._signature(request.model_name).outputs
        if len(request.raw_input_contents) != len(request.inputs):
            raise InvalidRequest("every input needs raw contents", field="raw_input_contents")
        reply = oip.ModelInferResponse(
            model_name=request.model_name,
            model_version=request.model_version or "1",
            id=request.id,
            parameters=request.parameters,
        )
        wanted = {each.name for each in request.outputs}
        tensors = zip(outputs, request.inputs, request.raw_input_contents, strict=False)
        for spec, tensor, raw in tensors:
            if not wanted or spec.name in wanted:
                reply.outputs.add(name=spec.name, datatype=tensor.datatype, shape=tensor.shape)
                reply.raw_output_contents.append(raw)
        return reply

    def _ModelStatistics(self, request: oip.ModelStatisticsRequest) -> Message:  # noqa: N802
        reply = oip.ModelStatisticsResponse()
        entry = reply.model_stats.add(
            name=request.name or "echo", version="1", last_inference=1500, inference_count=6
        )
        entry.execution_count = 2
        entry.inference_stats.success.count = 3
        entry.inference_stats.success.ns = 6_000_000
        entry.batch_stats.add(batch_size=4).compute_infer.count = 1
        entry.memory_usage.add(type="CPU", id=0, byte_size=3 << 30)
        entry.memory_usage.add(type="GPU", id=1, byte_size=512)
        for index in range(11):
            response = entry.response_stats[str(index)]
            for at, name in enumerate(oip.InferResponseStatistics.DESCRIPTOR.fields_by_name):
                duration = getattr(response, name)
                duration.count, duration.ns = 10 * index + at, at + 1
        return reply

    def _RepositoryIndex(self, request: oip.RepositoryIndexRequest) -> Message:  # noqa: N802
        reply = oip.RepositoryIndexResponse()
        reply.models.add(name="echo", version="1", state="READY")
        if not request.ready:
            reply.models.add(name="broken", version="2", state="UNAVAILABLE", reason="bad file")
        return reply

    def _RepositoryModelLoad(self, request: oip.RepositoryModelLoadRequest) -> Message:  # noqa: N802
        self._signature(request.model_name)
        return oip.RepositoryModelLoadResponse()

    def _RepositoryModelUnload(  # noqa: N802
        self, request: oip.RepositoryModelUnloadRequest
    ) -> Message:
        self._signature(request.model_name)
        return oip.RepositoryModelUnloadResponse()

    def _signature(self, name: str) -> Signature:
        if name not in self.signatures:
            raise ModelNotFound(
                f"Request for unknown model: '{name}' is not found", metadata={"model": name}
            )
        return self.signatures[name]
