"""ModelInfer: arguments in, one request; one answer, a prediction out. Contents are always raw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from inferd.client.codec.arguments import Arguments, nearest, read_arguments
from inferd.client.codec.calls import PATHS, Call, parse
from inferd.client.codec.timings import TIMINGS, take_timings
from inferd.client.codec.values import write_value
from inferd.client.errors import AnswerInvalid, ServerFault, invalid
from inferd.client.metadata import ModelMetadata
from inferd.client.prediction import Answer, ParameterValue, Prediction, Timings
from inferd.protos import oip_pb2 as oip
from inferd.wire.answers import varint
from inferd.wire.tensors import Buffer

_RAW_TAG = b"\x3a"  # ModelInferRequest.raw_input_contents: field 7, length-delimited


@dataclass(frozen=True, slots=True)
class Options:
    """What goes with the inputs: outputs wanted (empty: all), parameters for the model, an id.

    With `timings` the server is asked what the request took.
    """

    outputs: tuple[str, ...] = ()
    parameters: Mapping[str, ParameterValue] | None = None
    request_id: str = ""
    timings: bool = False


def infer(
    metadata: ModelMetadata,
    version: str,
    positional: Sequence[object],
    named: Mapping[str, object],
    options: Options,
) -> Call[Prediction]:
    """The call of a model with these arguments; raises `InvalidInput` where they do not fit."""
    started = perf_counter()
    arguments = read_arguments(metadata.name, metadata.signature, positional, named)
    return request_call(metadata, version, arguments, options, started)


def request_call(
    metadata: ModelMetadata,
    version: str,
    arguments: Arguments,
    options: Options,
    started: float | None = None,
) -> Call[Prediction]:
    """The call with arguments that fit the model; its preparing counts from `started`, or now."""
    began = perf_counter() if started is None else started
    request = _serialise(_head(metadata, version, arguments, options), arguments)
    sent = perf_counter()

    def read(payload: bytes) -> Prediction:
        message = parse("ModelInfer", oip.ModelInferResponse, payload)
        return _prediction(message, began, sent, as_torch=arguments.as_torch)

    return Call(PATHS["ModelInfer"], request, read, inputs=tuple(arguments.values))


def stream(
    metadata: ModelMetadata,
    version: str,
    positional: Sequence[object],
    named: Mapping[str, object],
    options: Options,
) -> Call[Prediction | None]:
    """The same as a stream's only request: its answers, and None for an end that brings none.

    To be sent with `STREAM_METADATA`.
    """
    started = perf_counter()
    arguments = read_arguments(metadata.name, metadata.signature, positional, named)
    head = _head(metadata, version, arguments, options)
    head.parameters["triton_enable_empty_final_response"].bool_param = True
    request = _serialise(head, arguments)
    sent = perf_counter()

    def read(payload: bytes) -> Prediction | None:
        message = parse("ModelStreamInfer", oip.ModelStreamInferResponse, payload)
        if message.error_message:  # of a server that does not know STREAM_METADATA
            raise ServerFault(message.error_message)
        answer = message.infer_response
        if not answer.outputs and answer.parameters["triton_final_response"].bool_param:
            return None
        return _prediction(answer, started, sent, as_torch=arguments.as_torch)

    return Call(PATHS["ModelStreamInfer"], request, read, inputs=tuple(arguments.values))


STREAM_METADATA = (("triton_grpc_error", "true"),)
"""Asks for an error as the status of the stream, with its details, instead of its text alone."""


def _head(
    metadata: ModelMetadata, version: str, arguments: Arguments, options: Options
) -> oip.ModelInferRequest:
    head = oip.ModelInferRequest(
        model_name=metadata.name, model_version=version, id=options.request_id
    )
    for name, value in arguments.values.items():
        head.inputs.add(name=name, datatype=value.datatype, shape=value.shape)
    known = [spec.name for spec in metadata.outputs]
    for name in options.outputs:
        if name not in known:
            raise invalid(
                f"model '{metadata.name}' has no output '{name}'; "
                f"{nearest(name, known, 'outputs' if len(known) > 1 else 'output')}"
            )
        head.outputs.add(name=name)
    for key, parameter in (options.parameters or {}).items():
        _set_parameter(head.parameters[key], key, parameter)
    if options.timings:
        head.parameters[TIMINGS].bool_param = True
    return head


def _set_parameter(target: oip.InferParameter, key: str, value: ParameterValue) -> None:
    if isinstance(value, bool):
        target.bool_param = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        target.int64_param = value
    elif isinstance(value, float):
        target.double_param = value
    elif isinstance(value, str):
        target.string_param = value
    else:
        raise invalid(
            f"parameter '{key}' is {type(value).__name__} {value!r}; "
            "parameters are bool, 64-bit int, float or str"
        )


def _serialise(head: oip.ModelInferRequest, arguments: Arguments) -> bytes:
    """The request with the tensors behind its head, where protobuf allows them: copied once."""
    pieces: list[Buffer] = [head.SerializeToString()]
    for value in arguments.values.values():
        raw = value.raw()
        pieces += (_RAW_TAG, varint(len(raw)), raw)
    return b"".join(pieces)


def _prediction(
    message: oip.ModelInferResponse, started: float, sent: float, *, as_torch: bool
) -> Prediction:
    received = perf_counter()
    if len(message.raw_output_contents) != len(message.outputs):
        raise AnswerInvalid(
            f"the answer has {len(message.outputs)} outputs and raw contents for "
            f"{len(message.raw_output_contents)} of them"
        )
    outputs = {}
    for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        try:
            outputs[tensor.name] = write_value(
                raw, tensor.datatype, tuple(tensor.shape), as_torch=as_torch
            )
        except ValueError as error:
            raise AnswerInvalid(f"output '{tensor.name}' cannot be read: {error}") from error
    parameters = _parameters(message)
    server = take_timings(parameters)
    return Prediction(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        outputs=Answer(outputs),
        datatypes={tensor.name: tensor.datatype for tensor in message.outputs},
        parameters=parameters,
        timings=Timings(sent - started, received - sent, perf_counter() - received, server),
    )


def _parameters(message: oip.ModelInferResponse) -> dict[str, ParameterValue]:
    found: dict[str, ParameterValue] = {}
    for key, parameter in message.parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            found[key] = getattr(parameter, choice)
    return found
