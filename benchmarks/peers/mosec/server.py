"""One workload model behind mosec: raw float32 bytes in, raw float32 bytes out.

Settings, each chosen to be the fastest that mosec offers for this load:

- One worker process, the model on one thread, inference_mode entered once.
- Dynamic batching up to the model's largest batch, with the least window mosec takes (1 ms; it
  counts requests, not rows). For one caller batching is off: the window could only be waited out.
- The worker reads bytes and writes bytes; no JSON. Only the worker process imports torch, which
  keeps 250 MB out of the parent.
- Requests up to 64 MiB (mosec's own limit of 10 MiB would refuse a 16 MiB tensor); nobody's
  request is turned away or timed out under the callers of the benchmark.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

MODEL_VARIABLE = "MOSEC_BENCHMARK_MODEL"
"""Workers are spawned, so they learn the model's name from their environment."""

_MAX_REQUEST_BYTES = 64 << 20
_TIMEOUT_MS = 10_000
"""How long mosec also waits for a caller who left, when it is told to end."""
_WINDOW_MS = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    # mosec reads its settings from the command line when it is imported, so ours are taken first.
    arguments = _arguments()
    sys.argv[1:] = [
        *("--address", "127.0.0.1", "--port", str(arguments.port)),
        *("--timeout", str(_TIMEOUT_MS), "--max-request-size", str(_MAX_REQUEST_BYTES)),
        *("--log-level", "error"),
    ]

from mosec import Server, Worker  # noqa: E402 - see above


class Served(Worker):
    """The model of `MODEL_VARIABLE`. mosec hands a list of bodies where batching is on."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        import torch  # noqa: PLC0415 - the parent, which imports this file too, needs no torch
        from workload_models import MODELS, build  # noqa: PLC0415

        torch.set_num_threads(1)
        torch.inference_mode().__enter__()  # for as long as the process lives
        name = os.environ[MODEL_VARIABLE]
        self._row = MODELS[name].row
        self._module = build(name)
        self._torch = torch

    def deserialize(self, data: memoryview) -> memoryview:
        """The body is the tensor."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """The answer is the tensor."""
        return data

    def forward(self, data: Any) -> Any:
        """Answer one body, or each of a batch in its order."""
        if not isinstance(data, list):
            return self._answer(data)
        if len(data) == 1:
            return [self._answer(data[0])]
        return self._answer_each(data)

    def _answer(self, body: memoryview | bytearray) -> bytes:
        rows = self._torch.frombuffer(body, dtype=self._torch.float32).view(-1, *self._row)
        answer: bytes = self._module(rows).numpy().tobytes()
        return answer

    def _answer_each(self, bodies: Sequence[memoryview]) -> list[bytes]:
        joined = bytearray().join(bodies)
        answer = self._answer(joined)
        # An answer is to all answers what its body is to all bodies: both count whole rows.
        ends = _ends([len(body) * len(answer) // len(joined) for body in bodies])
        return [answer[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _ends(sizes: Sequence[int]) -> list[int]:
    ends, end = [], 0
    for size in sizes:
        end += size
        ends.append(end)
    return ends


def serve(model: str, *, max_batch: int, callers: int) -> None:
    """Run mosec until SIGTERM."""
    server = Server()
    server.append_worker(
        Served,
        num=1,
        max_batch_size=1 if callers == 1 else max_batch,
        max_wait_time=_WINDOW_MS,
        timeout=_TIMEOUT_MS / 1000,
        env=[{MODEL_VARIABLE: model}],
    )
    server.run()


if __name__ == "__main__":
    serve(arguments.model, max_batch=arguments.max_batch, callers=arguments.callers)
