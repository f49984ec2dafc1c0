"""`inferd status` and `inferd top` of a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from inferd.client import connect
from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.protos.services import INFERENCE_METHODS
from inferd.server.cli.watching.asking import Source
from support.repository import write_scale
from support.server import Server

INFERD = str(Path(sys.executable).with_name("inferd"))
INFER = INFERENCE_METHODS["ModelInfer"].path
HEALTH = "/grpc.health.v1.Health/Watch"
ROWS = np.ones((2, 4), np.float32)


def inferd(*arguments: str) -> str:
    """What it prints, off a terminal of 80 columns."""
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [INFERD, *arguments], capture_output=True, text=True, timeout=120, env=environment, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.timeout(300)  # two workers load one after the other, and three commands start
def test_a_server_is_seen(tmp_path: Path) -> None:
    """Counts are exact, figures follow from them, and a worker that is killed is one restart."""
    write_scale(tmp_path / "models" / "scale", 1, 2.0)
    with Server(tmp_path, [tmp_path / "models"]) as server, connect(server.address) as client:
        model = client.model("scale")
        for _ in range(20):
            model(ROWS)
        with pytest.raises(grpc.RpcError):
            _infer(server.address, "wrong")
        found: dict[str, Any] = json.loads(inferd("status", "--ops", server.ops, "--json"))
        (scale,) = found["models"]
        assert (found["schema"], found["server"]["ready"], found["server"]["unmatched"]) == (
            1,
            True,
            1,
        )
        assert found["server"]["addresses"]["grpc"] == server.address
        assert found["server"]["supervisor"]["pid"] == server.process.pid
        assert (scale["state"], scale["up"], scale["instances"]) == ("READY", 1, 1)
        totals, figures = scale["totals"], scale["figures"]
        assert (totals["answered"], totals["rows"], totals["errors"]) == (20, 40, 0)
        assert sum(totals["buckets"]) == 20
        assert figures["requests_per_second"] == pytest.approx(20 / found["window"])
        assert figures["speed"] == pytest.approx(20 / totals["seconds"])
        assert 0 < figures["p50_seconds"] <= figures["p99_seconds"]
        assert scale["restarts"] == {}

        used = scale["consumption"]
        assert used["cpu"] > 0
        assert 50e6 < used["memory_bytes"] < 4e9
        assert found["gateways"][0]["use"]["cpu_seconds"] > 0

        text = inferd("status", "--ops", server.ops)
        assert text.startswith("inferd ")
        assert max(map(len, text.splitlines())) <= 80
        assert "scale/1" in text

        twice = inferd("top", "--ops", server.ops, "--interval", "0.2", "--count", "2")
        assert twice.count("scale/1") == 4
        assert twice.count("over the last ") == 2

        (worker,) = server.workers()
        _kill_and_wait(server.address, worker)
        (after,) = Source.parse(server.ops, 20).ask().models
        assert after.restarts == {"signal": 1}
        (successor,) = after.workers
        assert successor.use is not None
        assert successor.use.pid != worker.pid


def _infer(address: str, model: str) -> None:
    """A request as it is, for the SDK asks for the model first."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )
        call(ModelInferRequest(model_name=model), timeout=20)


def _kill_and_wait(address: str, worker: psutil.Process) -> None:
    """Kill the only worker of `scale`; back when requests reach another one."""
    with grpc.insecure_channel(address) as channel:
        watch = channel.unary_stream(
            HEALTH,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )(HealthCheckRequest(service="model/scale"), timeout=120)
        wanted = [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING] * 2
        for response in watch:
            if response.status == wanted[0]:
                if len(wanted) == 4:
                    worker.kill()
                wanted.pop(0)
            if len(wanted) == 1:
                return
    raise AssertionError("the health of scale is not told any more")
