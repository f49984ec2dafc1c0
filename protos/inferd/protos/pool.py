"""The private descriptor pool: inferd's messages, apart from protobuf's default pool.

Other packages define messages of the same full names (`inference.ModelInferRequest`, ...). In
protobuf's default pool the second one to be imported fails with "duplicate symbol"; in a pool of
our own both can live in one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal import api_implementation
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR_SET: Final = "descriptors.binpb"
_REQUIRED_IMPLEMENTATION: Final = "upb"


class ProtobufImplementationError(ImportError):
    """Raised at import when protobuf runs without its C parser."""


def message_class(full_name: str) -> type[Message]:
    """Return the class of the message `full_name`, e.g. `inference.ModelInferRequest`.

    Repeated calls return the same class. Raises KeyError if the pool has no such message.
    """
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full_name))


def enum_wrapper(full_name: str) -> EnumTypeWrapper:
    """Return the name/number mapping of the top-level enum `full_name`.

    Raises KeyError if the pool has no such enum.
    """
    return EnumTypeWrapper(POOL.FindEnumTypeByName(full_name))


def file_descriptor(name: str) -> FileDescriptor:
    """Return the descriptor of the file `name`, e.g. `inferd/protos/oip.proto`.

    Raises KeyError if the pool has no such file.
    """
    return POOL.FindFileByName(name)


def _require_upb() -> None:
    # The pure-Python parser is far slower, and it recurses on Python's own stack, so the depth of
    # a message from the network would decide whether it can be parsed.
    found = api_implementation.Type()
    if found != _REQUIRED_IMPLEMENTATION:
        raise ProtobufImplementationError(
            f"inferd needs protobuf's '{_REQUIRED_IMPLEMENTATION}' implementation, but protobuf "
            f"runs with '{found}'. Unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, and install "
            "protobuf from a binary wheel for this platform."
        )


def _serialized_files() -> dict[str, bytes]:
    content = resources.files(__package__).joinpath(DESCRIPTOR_SET).read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    return {file.name: file.SerializeToString(deterministic=True) for file in files}


def _build_pool(files: Mapping[str, bytes]) -> DescriptorPool:
    pool = DescriptorPool()
    for serialized in files.values():  # protoc writes imports before their users
        pool.AddSerializedFile(serialized)
    return pool


_require_upb()

SERIALIZED_FILES: Final[Mapping[str, bytes]] = MappingProxyType(_serialized_files())
"""Serialized FileDescriptorProto by file name, imports first: what server reflection sends."""

POOL: Final = _build_pool(SERIALIZED_FILES)
"""The pool that holds every message of inferd; never protobuf's default pool."""
