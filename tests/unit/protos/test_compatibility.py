"""The wire contract: our descriptors against those of an independent client of the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
)
from tritonclient.grpc import model_config_pb2 as peer_model_config_pb2
from tritonclient.grpc import service_pb2 as peer_oip_pb2

from inferd.protos import model_config_pb2, oip_pb2

FILES = [
    pytest.param(oip_pb2.DESCRIPTOR, peer_oip_pb2.DESCRIPTOR, id="oip"),
    pytest.param(model_config_pb2.DESCRIPTOR, peer_model_config_pb2.DESCRIPTOR, id="model_config"),
]

both_files = pytest.mark.parametrize(("ours", "peer"), FILES)


@both_files
def test_messages_have_the_same_names(ours: FileDescriptor, peer: FileDescriptor) -> None:
    """Every message of the peer, nested ones and map entries included, exists here; no other."""
    assert _names(_messages(ours)) == _names(_messages(peer))


@both_files
def test_fields_are_equal(ours: FileDescriptor, peer: FileDescriptor) -> None:
    """Each message has the peer's fields: name, number, type, label, oneof, map, packing."""
    peer_messages = {message.full_name: message for message in _messages(peer)}
    for message in _messages(ours):
        assert _fields(message) == _fields(peer_messages[message.full_name]), message.full_name


@both_files
def test_enums_are_equal(ours: FileDescriptor, peer: FileDescriptor) -> None:
    """Each enum has the peer's values under the peer's numbers; neither side has another enum."""
    assert _enum_values(ours) == _enum_values(peer)


@both_files
def test_files_agree_on_package_and_presence(ours: FileDescriptor, peer: FileDescriptor) -> None:
    """Both files are in one package and neither has extensions that this test would overlook."""
    assert ours.package == peer.package == "inference"
    assert not ours.extensions_by_name
    assert not peer.extensions_by_name


def test_services_are_equal() -> None:
    """The service has the peer's methods: name, request, response, streaming; all twenty."""
    ours, peer = _methods(oip_pb2.DESCRIPTOR), _methods(peer_oip_pb2.DESCRIPTOR)
    assert ours == peer
    assert len(ours["inference.GRPCInferenceService"]) == 20


def _messages(file: FileDescriptor) -> Iterator[Descriptor]:
    pending = list(file.message_types_by_name.values())
    while pending:
        message = pending.pop()
        pending.extend(message.nested_types)
        yield message


def _names(messages: Iterable[Descriptor]) -> list[str]:
    return sorted(message.full_name for message in messages)


def _fields(message: Descriptor) -> dict[str, dict[str, Any]]:
    return {field.name: _field(field) for field in message.fields}


def _field(field: FieldDescriptor) -> dict[str, Any]:
    message, enum, oneof = field.message_type, field.enum_type, field.containing_oneof
    return {
        "number": field.number,
        "type": field.type,
        "message": message.full_name if message else None,
        "map entry": message.GetOptions().map_entry if message else None,
        "enum": enum.full_name if enum else None,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "required": field.is_required,
        "presence": field.has_presence,
        "oneof": oneof.full_name if oneof else None,
        "json": field.json_name,
        "default": field.default_value,
    }


def _enums(file: FileDescriptor) -> Iterator[EnumDescriptor]:
    yield from file.enum_types_by_name.values()
    for message in _messages(file):
        yield from message.enum_types


def _enum_values(file: FileDescriptor) -> dict[str, dict[str, int]]:
    return {
        enum.full_name: {value.name: value.number for value in enum.values} for enum in _enums(file)
    }


def _methods(file: FileDescriptor) -> dict[str, dict[str, tuple[str, str, bool, bool]]]:
    return {
        service.full_name: {
            method.name: (
                method.input_type.full_name,
                method.output_type.full_name,
                method.client_streaming,
                method.server_streaming,
            )
            for method in service.methods
        }
        for service in file.services_by_name.values()
    }
