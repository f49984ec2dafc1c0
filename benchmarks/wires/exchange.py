"""One prepared request of one scenario to one server, and how its answer is read."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from google.protobuf.message import DecodeError
from scenarios import DATATYPE, INPUT, OUTPUT, Scenario

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.protos.services import INFERENCE_METHODS

MODEL_INFER = INFERENCE_METHODS["ModelInfer"].path

GRPC_FRAME = struct.Struct(">BI")
"""gRPC puts a flag and a length before each message."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A unary gRPC call or an HTTP/1.1 POST.

    `body` is the message or the content, without gRPC's frame. `decode` returns the raw
    little-endian float32 of an answer or raises `ValueError`. `sizes_vary` says that equal
    requests may get answers of different length, because numbers are written as text.
    """

    transport: Literal["grpc", "http"]
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    decode: Callable[[bytes], bytes]
    sizes_vary: bool = False


def oip(
    scenario: Scenario,
    *,
    model: str | None = None,
    input_name: str = INPUT,
    output_name: str = OUTPUT,
    path: str = MODEL_INFER,
) -> Exchange:
    """ModelInfer of the Open Inference Protocol with raw contents."""
    name, shape, values = model or scenario.model, scenario.shape, scenario.values()
    return infer(name, shape, values, input_name=input_name, output_name=output_name, path=path)


def infer(
    model: str,
    shape: Sequence[int],
    values: bytes,
    *,
    datatype: str = DATATYPE,
    input_name: str = INPUT,
    output_name: str = OUTPUT,
    path: str = MODEL_INFER,
) -> Exchange:
    """As `oip`, with a tensor that need not be a scenario's."""
    message = ModelInferRequest(model_name=model)
    message.inputs.add(name=input_name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(values)

    def decode(body: bytes) -> bytes:
        return _raw_output(body, output_name)

    return Exchange("grpc", path, (), message.SerializeToString(), decode)


def raw(scenario: Scenario, transport: Literal["grpc", "http"], path: str) -> Exchange:
    """The tensors' bytes, nothing else."""
    return Exchange(transport, path, (), scenario.values(), bytes)


def own(scenario: Scenario, transport: Literal["grpc", "http"], path: str, wire: Path) -> Exchange:
    """What the functions `encode` and `decode` of the file `wire` make of it."""
    module = _module(wire)
    body: bytes = module.encode(scenario.values(), scenario.shape, scenario.model)
    return Exchange(transport, path, (), body, module.decode)


def _raw_output(body: bytes, name: str) -> bytes:
    try:
        answer = ModelInferResponse.FromString(body)
    except DecodeError as error:
        raise ValueError("the answer is no ModelInferResponse") from error
    heads = [(each.name, each.datatype) for each in answer.outputs]
    if heads != [(name, DATATYPE)]:
        raise ValueError(f"answered {heads}, expected {[(name, DATATYPE)]}")
    if len(answer.raw_output_contents) != 1:
        raise ValueError("the answer has its numbers elsewhere than in one raw_output_contents")
    return answer.raw_output_contents[0]


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"wire_of_{file.parent.name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
