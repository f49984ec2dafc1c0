"""One workload model behind LitServe, a custom LitAPI: raw float32 bytes in and out.

Settings, each chosen to be the fastest that LitServe offers for this load:

- One API server process and one inference worker; the model on one thread.
- Batching up to the model's largest batch (it counts requests, not rows), window 1 ms: with 0 its
  worker spins on an empty queue and takes the core from the API server. For one caller batching is
  off: the window could only be waited out.
- `fast_queue`: answers come back through ZeroMQ instead of a manager process.
- The request is declared as a body of bytes and the answer as a response, so that FastAPI neither
  parses nor writes JSON. Only the worker process imports torch.
"""

# No `from __future__ import annotations` here: LitServe hands the annotations of decode_request
# and encode_response to FastAPI as they stand, and it cannot use strings.

import argparse
import signal
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import litserve
from fastapi import Body, Response

_MEDIA_TYPE = "application/octet-stream"
_WINDOW_SECONDS = 0.001

RawBody = Annotated[bytes, Body(media_type=_MEDIA_TYPE)]


class Served(litserve.LitAPI):
    """The workload model of that name."""

    def __init__(self, model: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._model = model

    def setup(self, device: str) -> None:
        """Build the model, in the worker."""
        import torch  # noqa: PLC0415 - the other processes, which import this file too, need none
        from workload_models import MODELS, build  # noqa: PLC0415

        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        torch.set_num_threads(1)
        torch.inference_mode().__enter__()  # for as long as the process lives
        self._torch = torch
        self._row = MODELS[self._model].row
        self._module = build(self._model)

    def decode_request(self, request: RawBody) -> Any:
        """The body is the tensor."""
        return self._torch.frombuffer(request, dtype=self._torch.float32).view(-1, *self._row)

    def batch(self, inputs: Sequence[Any]) -> Any:
        """The rows of all requests, and how many each brought."""
        return self._torch.cat(list(inputs)), [len(rows) for rows in inputs]

    def predict(self, x: Any) -> Any:
        """Answer one request, or what `batch` has put together."""
        if isinstance(x, tuple):
            rows, sizes = x
            return self._module(rows), sizes
        return self._module(x)

    def unbatch(self, output: Any) -> Sequence[Any]:
        """Each request's rows of the answer."""
        answer, sizes = output
        rows: Sequence[Any] = answer.split(sizes)
        return rows

    def encode_response(self, output: Any) -> Response:
        """The answer is the tensor."""
        return Response(output.numpy().tobytes(), media_type=_MEDIA_TYPE)


def serve(model: str, *, max_batch: int, callers: int, port: int) -> None:
    """Run LitServe until SIGTERM."""
    # LitServe ends its processes on Ctrl-C only.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    batch = 1 if callers == 1 else max_batch
    api = Served(model, max_batch_size=batch, batch_timeout=0.0 if batch == 1 else _WINDOW_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    serve(given.model, max_batch=given.max_batch, callers=given.callers, port=given.port)
