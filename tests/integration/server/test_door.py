"""The setting `door`, through all processes."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from support.server import MODELS, Server


def test_the_second_door_serves_streams_and_ends_well(tmp_path: Path) -> None:
    """`INFERD_DOOR` reaches the gateway: only grpc.aio drops a call whose path is no text."""
    environment = {"INFERD_DOOR": "grpc_aio"}
    options = ("--trust", "echo")
    values = np.array([[1, 2], [3, 4]], np.float32)
    tensor = triton.InferInput("input", [2, 2], "FP32")
    tensor.set_data_from_numpy(values)
    heard: queue.SimpleQueue[tuple[triton.InferResult, object]] = queue.SimpleQueue()
    with Server(tmp_path, [MODELS / "echo"], *options, environment=environment) as server:
        with triton.InferenceServerClient(server.address) as client:
            assert client.infer("echo", [tensor]).as_numpy("output").tolist() == values.tolist()
            client.start_stream(lambda result, error: heard.put((result, error)))
            client.async_stream_infer("echo", [tensor])
            result, error = heard.get(timeout=20)
            assert error is None
            assert result.as_numpy("output").tolist() == values.tolist()
            client.stop_stream()
        with grpc.insecure_channel(server.address) as channel:
            path = cast("str", b"/\xff/Method")  # grpcio takes bytes as well
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path, bytes, bytes)(b"", timeout=20)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
