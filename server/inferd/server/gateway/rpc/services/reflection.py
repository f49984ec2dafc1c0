"""Server reflection: clients without our .proto files learn the services from the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import ReflectionServicer

from inferd.protos.pool import SERIALIZED_FILES
from inferd.server.gateway.rpc.call import Method, Stream, StreamCall
from inferd.server.gateway.rpc.services.decoding import decode

SERVICE = "grpc.reflection.v1alpha.ServerReflection"

_SERVICE_V1 = "grpc.reflection.v1.ServerReflection"
"""The same messages under the name that newer clients ask for first."""


class Reflection:
    """grpcio's own reflection servicer, fed message by message instead of by a thread."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are the full names of all services but this one."""
        pool = DescriptorPool()
        for serialized in (
            *SERIALIZED_FILES.values(),
            health_pb2.DESCRIPTOR.serialized_pb,
            reflection_pb2.DESCRIPTOR.serialized_pb,
        ):
            pool.Add(FileDescriptorProto.FromString(serialized))
        # Its stubs deny that it returns anything; it is a generator of responses.
        self._servicer: Any = ReflectionServicer(sorted({*services, SERVICE}), pool=pool)

    def methods(self) -> Mapping[str, Method]:
        """The service's methods by path."""
        return {
            f"/{service}/ServerReflectionInfo": Stream(self._converse)
            for service in (SERVICE, _SERVICE_V1)
        }

    def _converse(self, call: StreamCall) -> None:
        def asked(payload: bytes | None) -> None:
            if payload is None:
                call.finish()
                return
            request = decode(reflection_pb2.ServerReflectionRequest, payload)
            for response in self._servicer.ServerReflectionInfo(iter([request]), None):
                call.send(response.SerializeToString())
            call.receive(asked)

        call.receive(asked)
