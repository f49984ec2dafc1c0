"""The methods of inferd's gRPC services, read from the service descriptors.

The gateway and the client register and call methods by path with these; nothing needs
generated `_pb2_grpc` modules, which would bind to protobuf's default pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from inferd.protos.pool import POOL, message_class

INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
BULK_SERVICE: Final = "inferd.v1.BulkInference"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: where it is reached and what it takes and returns."""

    path: str  # "/inference.GRPCInferenceService/ModelInfer", as HTTP/2 carries it
    name: str  # "ModelInfer"
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool


def methods_of(service: str) -> Mapping[str, Method]:
    """Return the methods of the service with the full name `service`, by method name.

    The order is that of the proto file. Raises KeyError if the pool has no such service.
    """
    descriptor = POOL.FindServiceByName(service)
    methods = (_method(service, method) for method in descriptor.methods)
    return MappingProxyType({method.name: method for method in methods})


def _method(service: str, descriptor: MethodDescriptor) -> Method:
    return Method(
        path=f"/{service}/{descriptor.name}",
        name=descriptor.name,
        request=message_class(descriptor.input_type.full_name),
        response=message_class(descriptor.output_type.full_name),
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
    )


INFERENCE_METHODS: Final = methods_of(INFERENCE_SERVICE)
"""The methods of `inference.GRPCInferenceService`, by method name."""

BULK_METHODS: Final = methods_of(BULK_SERVICE)
"""The methods of `inferd.v1.BulkInference`, by method name."""
