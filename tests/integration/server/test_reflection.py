"""Clients that know nothing but the address: reflection, by other people's tools."""

from __future__ import annotations

import base64
import warnings

import numpy as np

from support.server import Server


def test_grpc_requests_finds_and_calls_the_services(examples: Server) -> None:
    """A client without our .proto files lists the services and predicts through them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        from grpc_requests import Client

        client = Client(examples.address)
        assert "inference.GRPCInferenceService" in client.service_names
        assert "grpc.health.v1.Health" in client.service_names
        row = np.arange(4, dtype=np.float32)
        answer = client.request(
            "inference.GRPCInferenceService",
            "ModelInfer",
            {
                "model_name": "echo",
                "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4]}],
                "raw_input_contents": [base64.b64encode(row.tobytes()).decode()],
            },
        )
        health = client.request("grpc.health.v1.Health", "Check", {"service": "model/echo"})
        client.channel.close()
    raw = base64.b64decode(answer["raw_output_contents"][0])
    np.testing.assert_array_equal(np.frombuffer(raw, np.float32), row)
    assert health["status"] == "SERVING"
