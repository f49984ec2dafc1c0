"""The method table that the gateway and the client use instead of generated stubs."""

from __future__ import annotations

import pytest

from inferd.protos import oip_pb2
from inferd.protos.services import INFERENCE_METHODS, INFERENCE_SERVICE, Method, methods_of


def test_a_unary_method_has_its_path_and_classes() -> None:
    """ModelInfer is reached under its full path, with the classes of `oip_pb2`."""
    assert INFERENCE_METHODS["ModelInfer"] == Method(
        path="/inference.GRPCInferenceService/ModelInfer",
        name="ModelInfer",
        request=oip_pb2.ModelInferRequest,
        response=oip_pb2.ModelInferResponse,
        client_streaming=False,
        server_streaming=False,
    )


def test_only_the_stream_method_streams_both_ways() -> None:
    """ModelStreamInfer streams in both directions and is the only one that streams at all."""
    streaming = [
        method.name
        for method in INFERENCE_METHODS.values()
        if method.client_streaming or method.server_streaming
    ]
    assert streaming == ["ModelStreamInfer"]
    method = INFERENCE_METHODS["ModelStreamInfer"]
    assert (method.client_streaming, method.server_streaming) == (True, True)
    assert method.response is oip_pb2.ModelStreamInferResponse


def test_paths_match_the_paths_a_real_client_calls() -> None:
    """The paths are those that tritonclient's generated stub asks its channel for."""
    from tritonclient.grpc import service_pb2_grpc

    channel = _RecordingChannel()
    service_pb2_grpc.GRPCInferenceServiceStub(channel)
    kinds = {
        method.path: ("stream" if method.client_streaming else "unary")
        + ("_stream" if method.server_streaming else "_unary")
        for method in INFERENCE_METHODS.values()
    }
    assert kinds == channel.kinds


def test_unknown_service_raises_key_error() -> None:
    """A service that the pool lacks is a KeyError, and the known one has twenty methods."""
    assert len(methods_of(INFERENCE_SERVICE)) == 20
    with pytest.raises(KeyError):
        methods_of("inference.NoSuchService")


class _RecordingChannel:
    """Takes the registrations a generated stub makes; nothing is ever called through it."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}

    def unary_unary(self, path: str, **_: object) -> None:
        self.kinds[path] = "unary_unary"

    def unary_stream(self, path: str, **_: object) -> None:
        self.kinds[path] = "unary_stream"

    def stream_unary(self, path: str, **_: object) -> None:
        self.kinds[path] = "stream_unary"

    def stream_stream(self, path: str, **_: object) -> None:
        self.kinds[path] = "stream_stream"
