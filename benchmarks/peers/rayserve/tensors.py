"""The gRPC service that Ray Serve's proxy is told to answer: a tensor's bytes in and out.

Written by hand as grpcio-tools would generate it; the messages are protobuf's own BytesValue, which
every process of Ray can import and pickle.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

SERVICE = "inferd.benchmarks.Tensors"


def add_tensors_to_server(servicer: Any, server: grpc.Server) -> None:
    """Answer `infer` by the servicer's method of that name."""
    infer = grpc.unary_unary_rpc_method_handler(
        servicer.infer,
        request_deserializer=BytesValue.FromString,
        response_serializer=BytesValue.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(SERVICE, {"infer": infer})
    server.add_generic_rpc_handlers((handler,))
