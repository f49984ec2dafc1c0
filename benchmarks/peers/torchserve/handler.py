"""TorchServe's worker calls `handle` with what it batched; raw float32 in and out."""

from __future__ import annotations

from typing import Any

import torch
import workload_models


class Handler:
    """One model per worker; its name is that of the archive."""

    def initialize(self, context: Any) -> None:
        """Build the model."""
        torch.set_num_threads(1)
        self._inference = torch.inference_mode()
        self._inference.__enter__()
        name = context.manifest["model"]["modelName"]
        self._row = workload_models.MODELS[name].row
        self._model = workload_models.build(name)

    def handle(self, data: list[dict[str, Any]], _: Any) -> list[bytes]:
        """One answer per request, in order."""
        joined = b"".join([each["data"] for each in data])
        rows = torch.frombuffer(bytearray(joined), dtype=torch.float32).view(-1, *self._row)
        answers = self._model(rows)
        count = len(answers) // len(data)
        return [each.numpy().tobytes() for each in answers.split(count)]
