"""Protobuf messages as the JSON documents that the protocol has over HTTP."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_MESSAGE = FieldDescriptor.CPPTYPE_MESSAGE
_ENUM = FieldDescriptor.CPPTYPE_ENUM


def document_of(message: Message) -> dict[str, Any]:
    """Every field under its own name: numbers as numbers, enums by name, 0 and "" too.

    Messages that are not set are left out, and so are all but the chosen field of a oneof.
    """
    document: dict[str, Any] = {}
    fields: Any = message.DESCRIPTOR.fields  # the stubs have two classes for a descriptor
    for field in fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if _is_map(field):
            of = field.message_type.fields_by_name["value"]
            document[field.name] = {str(key): _plain(of, each) for key, each in value.items()}
        elif field.is_repeated:
            document[field.name] = [_plain(field, each) for each in value]
        else:
            document[field.name] = _plain(field, value)
    return document


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type == _MESSAGE:
        return document_of(value)
    if field.cpp_type == _ENUM:
        kind: Any = field.enum_type
        known = kind.values_by_number.get(value)
        return value if known is None else known.name
    return value
