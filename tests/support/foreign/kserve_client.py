"""KServe's InferenceGRPCClient, in an environment of its own: ADDRESS on the command line."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main(address: str) -> None:
    """Health, and one inference with raw contents; prints what came as JSON."""
    client = InferenceGRPCClient(url=address)
    row = np.arange(30, dtype=np.float32)[None] / np.float32(10)
    tensor = InferInput("features", list(row.shape), "FP32")
    tensor.set_data_from_numpy(row)
    answer = await client.infer(InferRequest("breast-cancer", [tensor], request_id="of kserve"))
    unknown = "no error"
    try:
        await client.infer(InferRequest("nothing", [tensor]))
    except Exception as error:  # whichever it raises
        unknown = str(error)
    json.dump(
        {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("breast-cancer"),
            "id": answer.id,
            "outputs": {each.name: each.as_numpy().tolist() for each in answer.outputs},
            "unknown": unknown,
        },
        sys.stdout,
    )
    await client.close()


asyncio.run(main(sys.argv[1]))
