"""One workload model behind MLServer, a custom runtime, asked over gRPC with raw contents.

Settings, each chosen to be the fastest that MLServer offers for this load:

- `parallel_workers = 0`: the model runs in the server's own process. With one parallel worker each
  request crosses a multiprocessing queue and is pickled, which measured slower at every load.
- Adaptive batching up to the model's largest batch (it counts requests, not rows). The window must
  be more than zero to have batching at all; 0.1 ms is long enough to take what is waiting and short
  enough to cost nothing. For one caller batching is off: the window could only be waited out.
- Raw contents, MLServer's own NumPy codec, metrics, access logs and CORS off.
- uvloop, which MLServer's own command installs; the model on one thread.
"""

from __future__ import annotations

import argparse

import torch
import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from workload_models import build

_MAX_MESSAGE_BYTES = 64 << 20
_WINDOW_SECONDS = 0.0001


class Served(MLModel):
    """The workload model of the name in its settings."""

    async def load(self) -> bool:
        """Build the model."""
        self._module = build(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request, or several that MLServer has put together."""
        rows = torch.from_numpy(NumpyCodec.decode_input(payload.inputs[0]))
        answer = self._module(rows).numpy()
        output = NumpyCodec.encode_output("output", answer)
        return InferenceResponse(model_name=self.name, outputs=[output])


def serve(model: str, *, max_batch: int, callers: int, port: int, http_port: int) -> None:
    """Run MLServer until SIGTERM."""
    torch.set_num_threads(1)
    torch.inference_mode().__enter__()  # for as long as the process lives
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        grpc_port=port,
        http_port=http_port,
        grpc_max_message_length=_MAX_MESSAGE_BYTES,
        parallel_workers=0,
        metrics_endpoint=None,
        load_models_at_startup=False,
    )
    batched = callers > 1 and max_batch > 1
    served = ModelSettings(
        name=model,
        implementation=Served,
        max_batch_size=max_batch if batched else 0,
        max_batch_time=_WINDOW_SECONDS if batched else 0.0,
    )
    uvloop.run(_run(settings, served))


async def _run(settings: Settings, served: ModelSettings) -> None:
    # Made inside the loop: the constructor leaves its signal handlers with the running one.
    await MLServer(settings).start([served])


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
    serve(
        given.model,
        max_batch=given.max_batch,
        callers=given.callers,
        port=given.port,
        http_port=given.http_port,
    )
