"""grpc.aio with the model in its process; unbatched, no checks."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.protos.services import INFERENCE_SERVICE
from servers.answering import answer_of
from servers.options import Options, read_options
from servers.threaded import UNLIMITED


async def serve(options: Options) -> None:
    """Listen until killed."""
    answer = answer_of(options.model)

    async def infer(request: ModelInferRequest, _: Any) -> ModelInferResponse:
        return answer(request)

    server = grpc.aio.server(options=UNLIMITED)
    method = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=ModelInferRequest.FromString,
        response_serializer=ModelInferResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(INFERENCE_SERVICE, {"ModelInfer": method})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(read_options(__doc__)))
