"""Every RPC of the service answers what is specified."""

from __future__ import annotations

import grpc
import pytest
import tritonclient.grpc as triton

from inferd.core.link.messages import PublishServer, VersionState
from inferd.protos import oip_pb2 as oip
from inferd.protos.services import INFERENCE_METHODS
from inferd.server.gateway.rpc.services.inference import EXTENSIONS
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.calls import ANYTHING, ROWS, call
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

_NOW = [
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
]


def test_the_service_has_twenty_methods() -> None:
    """Each is one of those tested here."""
    assert sorted([*_NOW, "ModelStreamInfer"]) == sorted(INFERENCE_METHODS)


@pytest.mark.parametrize("method", ["NoSuchMethod", "/other.Service/Method"])
def test_what_is_not_there_is_unimplemented(channel: grpc.Channel, method: str) -> None:
    """So clients know that it is not the request."""
    outcome = call(channel, b"", method)
    assert outcome.code is grpc.StatusCode.UNIMPLEMENTED
    assert outcome.reason == "UNIMPLEMENTED"
    assert method.rpartition("/")[2] in outcome.message


@pytest.mark.parametrize("method", _NOW)
def test_random_bytes_are_malformed_everywhere(channel: grpc.Channel, method: str) -> None:
    """Every method says so with the same code, where grpcio would say UNKNOWN."""
    outcome = call(channel, b"\xde\xad\xbe\xef", method)
    assert (outcome.code.name, outcome.reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


def test_live_and_ready(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """A server that listens lives; it is ready when the supervisor says so."""
    live = oip.ServerLiveResponse.FromString(call(channel, b"", "ServerLive").payload)
    assert live.live
    for ready in (False, True):
        gateway.control.send(PublishServer(ready=ready))
        gateway.settle()
        answer = oip.ServerReadyResponse.FromString(call(channel, b"", "ServerReady").payload)
        assert answer.ready is ready


def test_model_ready_is_a_bool_for_what_is_unknown(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Unknown, failed and restarting models are not ready; only bad requests are errors."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.deploy("restarting", ROWS, [])
    gateway.publish("failed", VersionState(1, "UNAVAILABLE", "broken", None))

    def ready(name: str, version: str = "") -> bool:
        payload = oip.ModelReadyRequest(name=name, version=version).SerializeToString()
        outcome = call(channel, payload, "ModelReady")
        assert outcome.code is grpc.StatusCode.OK, outcome
        return oip.ModelReadyResponse.FromString(outcome.payload).ready

    assert ready("m")
    assert ready("m", "1")
    assert not any([ready("m", "2"), ready("n"), ready("failed"), ready("restarting")])
    for name, version in [("m", "x"), ("../m", ""), ("", "")]:
        payload = oip.ModelReadyRequest(name=name, version=version).SerializeToString()
        assert call(channel, payload, "ModelReady").code is grpc.StatusCode.INVALID_ARGUMENT


def test_server_metadata_announces_what_works(channel: grpc.Channel) -> None:
    """Clients change their behaviour on these words."""
    metadata = oip.ServerMetadataResponse.FromString(call(channel, b"", "ServerMetadata").payload)
    assert metadata.name == "inferd"
    assert metadata.version
    assert tuple(metadata.extensions) == EXTENSIONS
    assert not {"system_shared_memory", "trace", "logging"} & set(EXTENSIONS)


def test_model_metadata_and_config_tell_the_signature(gateway: GatewayUnderTest) -> None:
    """The batch is in the metadata's shapes and not in the configuration's, as in Triton."""
    signature = Signature(
        (
            TensorSpec("x", "FP32", (Axis("b"), 3, Axis("n"))),
            TensorSpec("s", "BYTES", (Axis("b"),), optional=True),
        ),
        (TensorSpec("y", "BF16", (Axis("b"), 2)),),
        max_batch_size=8,
    )
    gateway.deploy(
        "m", signature, [LinkWorker(), LinkWorker()], max_queue_size=7, max_queue_delay=0.25
    )
    with triton.InferenceServerClient(gateway.address) as client:
        metadata = client.get_model_metadata("m")
        config = client.get_model_config("m", "1").config
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("m", ["1"], "test")
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [
        ("x", "FP32", [-1, 3, -1]),
        ("s", "BYTES", [-1]),
    ]
    assert [(o.name, o.datatype, list(o.shape)) for o in metadata.outputs] == [
        ("y", "BF16", [-1, 2])
    ]
    assert config.max_batch_size == 8
    assert [(i.name, i.data_type, list(i.dims), i.optional) for i in config.input] == [
        ("x", 11, [3, -1], False),
        ("s", 13, [], True),
    ]
    assert config.dynamic_batching.max_queue_delay_microseconds == 250_000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 7
    assert not config.model_transaction_policy.decoupled
    assert [(group.count, group.kind) for group in config.instance_group] == [(2, 2)]


def test_a_model_without_batching_says_so(gateway: GatewayUnderTest) -> None:
    """No dynamic batching, and a shape of one free dimension for any rank."""
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    with triton.InferenceServerClient(gateway.address) as client:
        config = client.get_model_config("m").config
        metadata = client.get_model_metadata("m")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1]
    assert list(metadata.inputs[0].shape) == [-1]


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_descriptions_of_unknown_models_are_not_found(
    gateway: GatewayUnderTest, channel: grpc.Channel, method: str
) -> None:
    """The same codes as for inference."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    kind = INFERENCE_METHODS[method].request
    cases = {
        ("n", ""): "MODEL_NOT_FOUND",
        ("m", "9"): "VERSION_NOT_FOUND",
        ("m", "x"): "INVALID_REQUEST",
    }
    for (name, version), reason in cases.items():
        payload = kind(name=name, version=version).SerializeToString()
        assert call(channel, payload, method).reason == reason
