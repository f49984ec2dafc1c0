"""A bare threaded grpcio server whose ModelInfer answers with its own input; no model, no checks."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from inferd.core.process import die_with_parent
from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.protos.services import INFERENCE_SERVICE
from servers.ready_file import write_ready_file

_THREADS = 10
"""What grpcio's own examples take."""


def infer(request: ModelInferRequest, _: grpc.ServicerContext) -> ModelInferResponse:
    """The answer of an identity model, made as any servicer makes it."""
    answer = ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    for each in request.inputs:
        answer.outputs.add(name="output", datatype=each.datatype, shape=each.shape)
    answer.raw_output_contents.extend(request.raw_input_contents)
    return answer


def serve(ready_file: Path) -> None:
    """Listen on a free port until killed."""
    server = grpc.server(ThreadPoolExecutor(_THREADS))
    method = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=ModelInferRequest.FromString,
        response_serializer=ModelInferResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(INFERENCE_SERVICE, {"ModelInfer": method})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    write_ready_file(ready_file, f"127.0.0.1:{port}")
    server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    serve(arguments.ready_file)
