"""PyTriton as its documentation shows it: a function decorated with @batch, bound to a model name.

Dynamic batching without a delay, as for Triton itself; with one caller there is nothing to batch
and it is off.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from workload_models import MODELS, build


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    module = build(given.model)

    @batch
    def infer(**inputs: Any) -> dict[str, Any]:
        with torch.inference_mode():
            return {"output": module(torch.from_numpy(inputs["input"])).numpy()}

    model = MODELS[given.model]
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=given.port,
        http_address="127.0.0.1",
        http_port=given.http_port,
        metrics_port=given.metrics_port,
    )
    with Triton(config=config, workspace=Path.cwd() / "workspace") as triton:
        triton.bind(
            model_name=given.model,
            infer_func=infer,
            inputs=[Tensor(name="input", dtype=np.float32, shape=model.row)],
            outputs=[Tensor(name="output", dtype=np.float32, shape=model.answer_row)],
            config=ModelConfig(
                max_batch_size=given.max_batch,
                batcher=DynamicBatcher() if given.callers > 1 else None,
            ),
            strict=False,
        )
        signal.signal(signal.SIGTERM, lambda *_: triton.stop())
        triton.serve()


if __name__ == "__main__":
    main()
