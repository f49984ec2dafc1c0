"""The Python-backend model: joins what Triton batched, one forward, and cuts the answers apart."""

from __future__ import annotations

import json
import site
from typing import Any

import triton_python_backend_utils as pb


class TritonPythonModel:
    """Triton looks for this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the model; the stub ignores PYTHONPATH, so the environment's path comes as a parameter."""
        config = json.loads(args["model_config"])
        site.addsitedir(config["parameters"]["site"]["string_value"])
        import torch  # noqa: PLC0415 - not to be found before
        import workload_models  # noqa: PLC0415

        self._torch = torch
        torch.set_num_threads(1)
        self._inference = torch.inference_mode()
        self._inference.__enter__()
        self._model = workload_models.build(args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        torch = self._torch
        inputs = [
            torch.from_numpy(pb.get_input_tensor_by_name(each, "input").as_numpy())
            for each in requests
        ]
        if len(inputs) == 1:
            return [self._response(self._model(inputs[0]))]
        answers = self._model(torch.cat(inputs)).split([len(each) for each in inputs])
        return [self._response(each) for each in answers]

    def _response(self, answer: Any) -> Any:
        return pb.InferenceResponse([pb.Tensor("output", answer.numpy())])
