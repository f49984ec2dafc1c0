"""One workload model behind KServe's Python model server, asked over gRPC with raw contents.

Settings, each chosen to be the fastest that KServe offers for this load:

- No batching: KServe's batcher is a sidecar of its Kubernetes agent; the Python server has none.
- One process (KServe's gRPC server knows no other way), uvloop, the model on one thread;
  `predict` is synchronous, as in KServe's own runtimes.
- Raw contents in both directions, no JSON.
- Messages up to 64 MiB: the 8 MiB KServe starts with would refuse a 16 MiB tensor.
- Latency logging and the line per call of its interceptor are off.

KServe offers no choice of the address: it listens on every interface.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

_MAX_MESSAGE_BYTES = 64 << 20
_GRACE_SECONDS = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    # KServe reads its settings from the command line when it is imported, so ours are taken first.
    arguments = _arguments()
    sys.argv[1:] = [
        *("--grpc_port", str(arguments.port), "--http_port", str(arguments.http_port)),
        *("--grpc_max_send_message_length", str(_MAX_MESSAGE_BYTES)),
        *("--grpc_max_receive_message_length", str(_MAX_MESSAGE_BYTES)),
        *("--enable_latency_logging", "false"),
    ]

import torch  # noqa: E402 - see above
import uvloop  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402
from kserve.logging import KSERVE_LOGGER_NAME  # noqa: E402
from workload_models import build  # noqa: E402


class Served(Model):
    """The workload model of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._module = build(name)
        self.ready = True

    def predict(
        self,
        payload: InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> InferResponse:
        """Answer one request."""
        rows = torch.from_numpy(payload.inputs[0].as_numpy())
        answer = self._module(rows).numpy()
        output = InferOutput("output", list(answer.shape), "FP32")
        output.set_data_from_numpy(answer)
        return InferResponse(payload.id, self.name, [output])


def serve(model: str) -> None:
    """Run KServe until SIGTERM."""
    torch.set_num_threads(1)
    torch.inference_mode().__enter__()  # for as long as the process lives
    uvloop.install()
    asyncio.set_event_loop(asyncio.new_event_loop())  # KServe asks for one before it runs its own
    server = ModelServer(grace_period=_GRACE_SECONDS)
    logging.getLogger(KSERVE_LOGGER_NAME).setLevel(logging.WARNING)
    server.start([Served(model)])


if __name__ == "__main__":
    serve(arguments.model)
