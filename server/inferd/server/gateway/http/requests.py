"""An inference request over HTTP turned into the bytes of a ModelInferRequest.

Tensors go raw into it, whichever way they came: callers of both protocols share what the gateway
remembers of the forms of requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

import msgspec

from inferd.protos.oip_pb2 import InferParameter, ModelInferRequest
from inferd.server.gateway.http.body import Body
from inferd.server.gateway.http.tensor_data import raw_of
from inferd.wire.answers import varint
from inferd.wire.dtypes import ANY, DATATYPES
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import MAX_FIELDS, too_large
from inferd.wire.signature import Axis, Signature
from inferd.wire.tensors import Buffer

_RAW_TAG = b"\x3a"  # field 7 of ModelInferRequest, length-delimited

ParameterValue = bool | int | float | str
Parameters = dict[str, ParameterValue]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class InputTensor(msgspec.Struct):
    """One input: `data` in JSON, or the parameter `binary_data_size` for bytes behind the JSON."""

    name: str
    shape: list[Int64]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class OutputTensor(msgspec.Struct):
    """One output asked for; with the parameter `binary_data` its bytes come behind the JSON."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct):
    """The JSON of an inference request; without `outputs` all of them are asked for."""

    inputs: list[InputTensor]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[OutputTensor] = []


_DECODER = msgspec.json.Decoder(InferRequest)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A serialised ModelInferRequest, and which of its outputs are to come as bytes.

    `binary` holds those named; `binary_by_default` speaks for the others.
    """

    payload: bytes
    binary: Mapping[str, bool]
    binary_by_default: bool


def encode_request(
    model: str, version: str, body: Body, json_nbytes: int | None, most_bytes: int
) -> Encoded:
    """The request in `body`, whose first `json_nbytes` bytes are JSON, or all of them.

    A tensor whose shape alone says that it has more than `most_bytes` bytes is not looked at: it
    will be refused. Raises `InvalidRequest`.
    """
    total = body.nbytes
    if json_nbytes is not None and json_nbytes > total:
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {json_nbytes}, the body has {total} bytes"
        )
    text = b"".join(body.take(total if json_nbytes is None else json_nbytes))
    request = _decode(text)
    message = ModelInferRequest(model_name=model, model_version=version, id=request.id)
    pieces: list[Buffer] = []
    for position, tensor in enumerate(request.inputs):
        size = _binary_size(tensor, position)
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _add_parameters(message.inputs[position].parameters, tensor.parameters)
        if size is None and isinstance(tensor.data, msgspec.UnsetType) and _elsewhere(tensor):
            continue
        if size is None:
            raw = _raw(tensor, position, most_bytes)
            pieces += (_RAW_TAG, varint(len(raw)), raw)
        else:
            if json_nbytes is None:
                raise InvalidRequest(
                    f"input '{tensor.name[:64]}' has binary_data_size, which needs the header "
                    "Inference-Header-Content-Length: how many bytes of the body are JSON",
                    field=f"inputs[{position}].parameters[binary_data_size]",
                )
            if size > body.nbytes:
                raise InvalidRequest(
                    f"input '{tensor.name[:64]}' has binary_data_size {size}, but {body.nbytes} "
                    "bytes are left of the body",
                    field=f"inputs[{position}].parameters[binary_data_size]",
                )
            pieces += (_RAW_TAG, varint(size), *body.take(size))
    if body.nbytes:
        raise InvalidRequest(
            f"{body.nbytes} bytes follow the JSON and its inputs' binary_data_size bytes"
        )
    by_default = _take_flag(request.parameters, "binary_data_output", "parameters")
    binary = _add_outputs(message, request.outputs)
    _add_parameters(message.parameters, request.parameters)
    payload = b"".join((message.SerializeToString(), *pieces))
    return Encoded(payload, binary, by_default or False)


def encode_raw_request(model: str, version: str, body: Body, signature: Signature) -> Encoded:
    """The request whose only input is the whole body; all outputs come as bytes.

    Raises `InvalidRequest` where the model has several inputs, or one whose shape does not follow
    from the number of bytes.
    """
    if len(signature.inputs) != 1 or signature.inputs[0].datatype == ANY:
        raise InvalidRequest(
            f"a body without JSON is for models with one input of a known datatype; '{model}' has "
            f"{len(signature.inputs)}; send JSON and Inference-Header-Content-Length"
        )
    spec = signature.inputs[0]
    size, pieces = body.nbytes, list[Buffer](body.take(body.nbytes))
    itemsize = DATATYPES[spec.datatype].itemsize
    if spec.datatype == "BYTES":  # one element: its length goes before it
        pieces.insert(0, size.to_bytes(4, "little"))
        size, itemsize = size + 4, size + 4
    shape = [1] if spec.dims is None and itemsize == size else list(spec.shape)
    if signature.max_batch_size and isinstance((spec.dims or (0,))[0], Axis):
        shape[0] = 1
    free = [axis for axis, dim in enumerate(shape) if dim == -1]
    known = itemsize * prod(dim for dim in shape if dim != -1)
    if len(free) > 1 or (free and (known == 0 or size % known)):
        raise InvalidRequest(
            f"the shape {list(spec.shape)} of input '{spec.name}' does not follow from {size} "
            "bytes; send JSON and Inference-Header-Content-Length"
        )
    if free:
        shape[free[0]] = size // known
    message = ModelInferRequest(model_name=model, model_version=version)
    message.inputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
    payload = b"".join((message.SerializeToString(), _RAW_TAG, varint(size), *pieces))
    return Encoded(payload, {}, binary_by_default=True)


def _decode(text: bytes) -> InferRequest:
    try:
        request = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the JSON is no inference request: {str(error)[:300]}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"the {len(text)} bytes received are no JSON: {str(error)[:300]}",
            reason="MALFORMED_MESSAGE",
        ) from None
    if len(request.inputs) > MAX_FIELDS or len(request.outputs) > MAX_FIELDS:
        raise too_large()
    return request


def _raw(tensor: InputTensor, position: int, most_bytes: int) -> bytes:
    field = f"inputs[{position}].data"
    shape = tuple(tensor.shape)
    if isinstance(tensor.data, msgspec.UnsetType):
        if 0 in shape:
            return b""
        raise InvalidRequest(
            f"unable to find data for input tensor '{tensor.name[:64]}': it has neither data nor "
            "the parameter binary_data_size",
            field=field,
        )
    known = DATATYPES.get(tensor.datatype)
    if known is None or min(shape, default=0) < 0 or prod(shape) * known.itemsize > most_bytes:
        return b""  # it is refused for its datatype or its shape
    return raw_of(tensor.data, tensor.name, tensor.datatype, shape, field)


def _elsewhere(tensor: InputTensor) -> bool:
    return "shared_memory_region" in tensor.parameters


def _binary_size(tensor: InputTensor, position: int) -> int | None:
    size = tensor.parameters.pop("binary_data_size", None)
    if size is None:
        return None
    field = f"inputs[{position}].parameters[binary_data_size]"
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidRequest(
            f"binary_data_size of input '{tensor.name[:64]}' is {str(size)[:32]}, expected a "
            "number of bytes",
            field=field,
        )
    if not isinstance(tensor.data, msgspec.UnsetType):
        raise InvalidRequest(
            f"input '{tensor.name[:64]}' has both data and binary_data_size; send one of them",
            field=field,
        )
    return size


def _add_outputs(message: ModelInferRequest, outputs: Sequence[OutputTensor]) -> dict[str, bool]:
    binary: dict[str, bool] = {}
    for position, output in enumerate(outputs):
        flag = _take_flag(output.parameters, "binary_data", f"outputs[{position}].parameters")
        if flag is not None:
            binary[output.name] = flag
        message.outputs.add(name=output.name)
        _add_parameters(message.outputs[position].parameters, output.parameters)
    return binary


def _take_flag(parameters: Parameters, key: str, where: str) -> bool | None:
    flag = parameters.pop(key, None)
    if flag is None or isinstance(flag, bool):
        return flag
    raise InvalidRequest(
        f"parameter '{key}' is {str(flag)[:32]}, expected true or false", field=f"{where}[{key}]"
    )


def _add_parameters(target: Mapping[str, InferParameter], parameters: Parameters) -> None:
    for key, value in parameters.items():
        try:
            if isinstance(value, bool):
                target[key].bool_param = value
            elif isinstance(value, float):
                target[key].double_param = value
            elif isinstance(value, str):
                target[key].string_param = value
            elif value < 2**63:
                target[key].int64_param = value
            else:
                target[key].uint64_param = value
        except ValueError as error:
            raise InvalidRequest(
                f"parameter '{key[:64]}' is a number of more than 64 bits",
                field=f"parameters[{key[:64]}]",
            ) from error
