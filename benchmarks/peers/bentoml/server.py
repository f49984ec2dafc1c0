"""One workload model as a BentoML service: JSON in and out with the tensor as base64.

Settings, each chosen to be the fastest that BentoML offers for this load:

- One worker process, the model on one thread, in an asynchronous method: no hop into a thread.
- Adaptive batching up to the model's largest batch (a tensor, which is a request, counts as one).
  BentoML chooses the window from what it measured; it can only be limited from above. For one
  caller batching is off.
- The tensor travels as one base64 string in JSON. BentoML refuses its binary encoding (pickle) from
  outside, reads files through the disk, and a JSON list of numbers costs several times more.
- uvloop and httptools are installed beside it; metrics and access log are off.
"""

# No `from __future__ import annotations` here: BentoML makes its schema of the annotations.

import base64
import os
import warnings

import bentoml
import torch
from workload_models import MODELS, build

MODEL = os.environ["BENTOML_BENCHMARK_MODEL"]
MAX_BATCH = int(os.environ["BENTOML_BENCHMARK_MAX_BATCH"])
CALLERS = int(os.environ["BENTOML_BENCHMARK_CALLERS"])
BATCHING = {"batchable": True, "max_batch_size": MAX_BATCH} if CALLERS > 1 else {}


@bentoml.service(
    workers=1,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Served:
    """The workload model of the name in the environment."""

    def __init__(self) -> None:
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        torch.set_num_threads(1)
        self._row = MODELS[MODEL].row
        self._module = build(MODEL)

    @bentoml.api(**BATCHING)
    async def infer(self, tensors: list[str]) -> list[str]:
        """Answer each tensor, all of them in one batch."""
        parts = [self._rows(tensor) for tensor in tensors]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        with torch.inference_mode():
            answers = self._module(rows).split([len(part) for part in parts])
        return [base64.b64encode(answer.numpy().tobytes()).decode() for answer in answers]

    def _rows(self, tensor: str) -> torch.Tensor:
        values = base64.b64decode(tensor)
        return torch.frombuffer(values, dtype=torch.float32).view(-1, *self._row)
