"""One workload model behind Ray Serve on one node, asked over gRPC.

Settings, each chosen to be the fastest that Ray Serve offers for this load:

- One replica, the model on one thread.
- `serve.batch` up to the model's largest batch (it counts requests, not rows) without a window:
  what waits when a batch has ended is the next one. For one caller batching is off.
- Ray Serve's throughput-optimised mode (environment variable in peer.toml) behind its own gRPC proxy.
  With HAProxy in the proxy's place (RAY_SERVE_ENABLE_HA_PROXY=1) a request took about a quarter of
  the CPU, but a part of h2load's calls was not answered, so it cannot be measured here.
- Raw bytes in a protobuf BytesValue, no JSON.
- No dashboard, no usage statistics, an object store no larger than it must be.
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from google.protobuf.wrappers_pb2 import BytesValue
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions

_OBJECT_STORE_BYTES = 256 << 20
_APPLICATION = "bench"
"""The proxy finds the replica by this name in the call's metadata; peer.toml has it too."""
_ONGOING_REQUESTS = 1000
"""More than all callers: nobody waits in the proxy."""


class Served:
    """The workload model of that name."""

    def __init__(self, model: str, *, max_batch: int) -> None:
        import torch  # noqa: PLC0415 - only the replica needs it
        from workload_models import MODELS, build  # noqa: PLC0415

        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        torch.set_num_threads(1)
        self._torch = torch
        self._row = MODELS[model].row
        self._module = build(model)
        self._batched = max_batch > 1
        self._infer_batch.set_max_batch_size(max_batch)

    async def infer(self, request: BytesValue) -> BytesValue:
        """Answer one request."""
        if self._batched:
            return BytesValue(value=await self._infer_batch(request.value))
        [answer] = self._answers([request.value])
        return BytesValue(value=answer)

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0.0)
    async def _infer_batch(self, bodies: list[bytes]) -> list[bytes]:
        return self._answers(bodies)

    def _answers(self, bodies: Sequence[bytes]) -> list[bytes]:
        parts: list[Any] = [
            self._torch.frombuffer(body, dtype=self._torch.float32).view(-1, *self._row)
            for body in bodies
        ]
        rows = parts[0] if len(parts) == 1 else self._torch.cat(parts)
        with self._torch.inference_mode():
            answers = self._module(rows).split([len(part) for part in parts])
        return [answer.numpy().tobytes() for answer in answers]


def run(model: str, *, max_batch: int, callers: int, port: int, http_port: int) -> None:
    """Start Ray and Ray Serve, and wait for SIGTERM."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        log_to_driver=False,
        _temp_dir=str(Path.cwd()),
    )
    # After ray.init, which puts a handler of its own there that aborts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve.start(
        proxy_location="HeadOnly",
        http_options=HTTPOptions(host="127.0.0.1", port=http_port),
        grpc_options=gRPCOptions(
            port=port, grpc_servicer_functions=["tensors.add_tensors_to_server"]
        ),
    )
    deployment = serve.deployment(
        Served, num_replicas=1, max_ongoing_requests=_ONGOING_REQUESTS
    ).bind(model, max_batch=1 if callers == 1 else max_batch)
    serve.run(deployment, name=_APPLICATION, route_prefix="/")
    while True:
        signal.pause()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    run(
        given.model,
        max_batch=given.max_batch,
        callers=given.callers,
        port=given.port,
        http_port=given.http_port,
    )
