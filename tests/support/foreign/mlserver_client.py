"""MLServer's stubs, in an environment of their own: ADDRESS and raw or typed on the command line."""

from __future__ import annotations

import json
import sys

import grpc
import numpy as np
from mlserver.codecs import NumpyCodec
from mlserver.grpc import converters, dataplane_pb2, dataplane_pb2_grpc
from mlserver.types import InferenceRequest


def main(address: str, contents: str) -> None:
    """Health, metadata, and one inference; prints what came as JSON."""
    row = np.arange(30, dtype=np.float32)[None] / np.float32(10)
    request = InferenceRequest(id="of mlserver", inputs=[NumpyCodec.encode_input("features", row)])
    message = converters.ModelInferRequestConverter.from_types(
        request, model_name="breast-cancer", model_version=None, use_raw=contents == "raw"
    )
    with grpc.insecure_channel(address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        live = stub.ServerLive(dataplane_pb2.ServerLiveRequest()).live
        ready = stub.ServerReady(dataplane_pb2.ServerReadyRequest()).ready
        named = dataplane_pb2.ModelReadyRequest(name="breast-cancer")
        question = dataplane_pb2.ModelMetadataRequest(name="breast-cancer")
        metadata = stub.ModelMetadata(question)
        answer = converters.ModelInferResponseConverter.to_types(stub.ModelInfer(message))
        json.dump(
            {
                "live": live,
                "ready": ready,
                "model_ready": stub.ModelReady(named).ready,
                "raw": len(message.raw_input_contents),
                "inputs": [[each.name, each.datatype] for each in metadata.inputs],
                "id": answer.id,
                "outputs": {
                    each.name: NumpyCodec.decode_output(each).tolist() for each in answer.outputs
                },
            },
            sys.stdout,
        )


main(*sys.argv[1:3])
