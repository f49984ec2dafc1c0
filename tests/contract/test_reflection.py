"""Clients without our .proto files learn the services from the server."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_requests import Client

from inferd.protos.services import BULK_SERVICE, INFERENCE_METHODS, INFERENCE_SERVICE
from support.calls import ROWS
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

_SERVICES = {
    INFERENCE_SERVICE,
    BULK_SERVICE,
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
}


def test_services_and_their_messages_are_described(channel: grpc.Channel) -> None:
    """The client that grpcio ships finds every method and what it takes."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == _SERVICES
    pool = DescriptorPool(database)
    service = pool.FindServiceByName(INFERENCE_SERVICE)
    assert {method.name for method in service.methods} == set(INFERENCE_METHODS)
    fields = pool.FindMessageTypeByName("inference.ModelInferRequest").fields_by_name
    assert fields["raw_input_contents"].number == 7


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_both_names_of_reflection_answer(channel: grpc.Channel, version: str) -> None:
    """Questions in one stream are answered in order; what is unknown is an error in the stream."""
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=INFERENCE_SERVICE),
    ]
    listed, unknown, found = method(iter(asked), timeout=10)
    assert {each.name for each in listed.list_services_response.service} == _SERVICES
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert found.file_descriptor_response.file_descriptor_proto


def test_broken_questions_end_the_stream(channel: grpc.Channel) -> None:
    """With the code of a malformed message."""
    method = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    answers = method(iter([b"\xff\xff"]), timeout=10)
    with pytest.raises(grpc.RpcError):
        list(answers)
    assert answers.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own use of protobuf
def test_grpc_requests_infers_without_our_files(gateway: GatewayUnderTest) -> None:
    """An unmodified dynamic client, from reflection to an answer."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    client = Client.get_by_endpoint(gateway.address)
    assert INFERENCE_SERVICE in client.service_names
    answer = client.request(
        INFERENCE_SERVICE,
        "ModelInfer",
        {
            "model_name": "m",
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [1, 2],
                    "contents": {"fp32_contents": [1.0, 2.0]},
                }
            ],
        },
    )
    assert answer["outputs"][0]["name"] == "y"
    assert answer["raw_output_contents"] == ["AACAPwAAAEA="]
    client.channel.close()
