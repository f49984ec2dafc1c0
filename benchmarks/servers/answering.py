"""The answer to a ModelInferRequest, made as any servicer makes it; no checks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from workload_models import build

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse

Answer = Callable[[ModelInferRequest], ModelInferResponse]


def answer_of(model: str) -> Answer:
    """A function that runs the model on one request; for `echo` one that runs none."""
    if model == "echo":
        return _echo
    torch.set_num_threads(1)
    module = build(model)

    def answer(request: ModelInferRequest) -> ModelInferResponse:
        first = request.inputs[0]
        values = bytearray(request.raw_input_contents[0])  # torch warns of memory it may not write
        rows = torch.frombuffer(values, dtype=torch.float32).view(tuple(first.shape))
        with torch.inference_mode():
            result = module(rows)
        made = ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        made.outputs.add(name="output", datatype="FP32", shape=tuple(result.shape))
        made.raw_output_contents.append(result.numpy().tobytes())
        return made

    return answer


def _echo(request: ModelInferRequest) -> ModelInferResponse:
    made = ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    first = request.inputs[0]
    made.outputs.add(name="output", datatype=first.datatype, shape=first.shape)
    made.raw_output_contents.extend(request.raw_input_contents)
    return made
