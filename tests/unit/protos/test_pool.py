"""The private descriptor pool and what is bound from it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from inferd.protos import model_config_pb2, oip_pb2
from inferd.protos.pool import (
    POOL,
    SERIALIZED_FILES,
    enum_wrapper,
    file_descriptor,
    message_class,
)


def test_pool_is_not_the_default_one() -> None:
    """Our files are in our pool and stay out of the pool that every package shares."""
    assert POOL is not descriptor_pool.Default()
    for name in SERIALIZED_FILES:
        assert file_descriptor(name).pool is POOL
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindFileByName(name)


def test_serialized_files_rebuild_the_pool_in_order() -> None:
    """The serialized files need no other file and come imports first, as reflection sends them."""
    copy = descriptor_pool.DescriptorPool()
    for name, serialized in SERIALIZED_FILES.items():
        assert descriptor_pb2.FileDescriptorProto.FromString(serialized).name == name
        copy.AddSerializedFile(serialized)
    rebuilt = copy.FindServiceByName("inference.GRPCInferenceService")
    assert len(rebuilt.methods) == 20


def test_modules_bind_every_top_level_message_of_their_file() -> None:
    """Each message of a file is an attribute of its module and the class the pool gives."""
    for module in (oip_pb2, model_config_pb2):
        messages = module.DESCRIPTOR.message_types_by_name
        assert messages
        for name, descriptor in messages.items():
            assert getattr(module, name) is message_class(descriptor.full_name)


def test_modules_bind_enums_and_their_values() -> None:
    """A top-level enum is a name/number mapping, and each of its values a module attribute."""
    for module in (oip_pb2, model_config_pb2):
        for name, descriptor in module.DESCRIPTOR.enum_types_by_name.items():
            assert getattr(module, name).items() == enum_wrapper(descriptor.full_name).items()
            for value in descriptor.values:
                assert getattr(module, value.name) == value.number
    assert model_config_pb2.DataType.Name(model_config_pb2.TYPE_BF16) == "TYPE_BF16"


def test_unknown_names_raise_key_error() -> None:
    """A name that the pool lacks is a KeyError, for messages, enums and files alike."""
    for look_up in (message_class, enum_wrapper, file_descriptor):
        with pytest.raises(KeyError):
            look_up("inference.NoSuchThing")


def test_pure_python_protobuf_is_refused_with_advice() -> None:
    """Without protobuf's C parser the import fails, as an ImportError that says what to do."""
    code = (
        "try:\n    import inferd.protos.pool\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.startswith("ProtobufImplementationError inferd needs protobuf's 'upb'")
    assert "runs with 'python'" in finished.stdout
    assert "Unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION" in finished.stdout
