"""Parameters of single tensors in a request: what of them the protocol gives a meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferd.protos.oip_pb2 import InferParameter, ModelInferRequest
from inferd.wire.errors import InvalidRequest

_REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_NBYTES = "shared_memory_byte_size"
_CLASSES = "classification"

Tensor = ModelInferRequest.InferInputTensor | ModelInferRequest.InferRequestedOutputTensor


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a region of shared memory; `offset` and `nbytes` in bytes."""

    region: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class TensorParameters:
    """What the tensors of one request ask for.

    `inputs` and `outputs` are places by position in the request; `classes` has the number of
    classes for every requested output, 0 for one that is to come as it is.
    """

    inputs: Mapping[int, Place]
    outputs: Mapping[int, Place]
    classes: tuple[int, ...]

    @property
    def uses_shared_memory(self) -> bool:
        """Whether any tensor lies, or is to lie, outside the messages."""
        return bool(self.inputs or self.outputs)


def read_tensor_parameters(
    inputs: Sequence[ModelInferRequest.InferInputTensor],
    outputs: Sequence[ModelInferRequest.InferRequestedOutputTensor],
) -> TensorParameters:
    """What the tensors' parameters ask for; those without a meaning are passed over.

    Raises `InvalidRequest` for values of the wrong type and for what does not go together.
    """
    classes = []
    for position, each in enumerate(outputs):
        count = _classes(each, f"outputs[{position}]")
        if count and _REGION in each.parameters:
            raise InvalidRequest(
                f"output '{each.name[:64]}' asks for classification and for shared memory; "
                "classes are texts of any length and come in the message: leave out one of the two",
                field=f"outputs[{position}].parameters[{_CLASSES}]",
            )
        classes.append(count)
    return TensorParameters(
        _places(inputs, "inputs"),
        _places(outputs, "outputs"),
        tuple(classes) if any(classes) else (),
    )


def _places(tensors: Sequence[Tensor], listed: str) -> dict[int, Place]:
    return {
        position: place
        for position, each in enumerate(tensors)
        if (place := _place(each, f"{listed}[{position}]")) is not None
    }


def _place(tensor: Tensor, where: str) -> Place | None:
    parameters = tensor.parameters
    if _REGION not in parameters:
        for key in (_OFFSET, _NBYTES):
            if key in parameters:
                raise InvalidRequest(
                    f"'{tensor.name[:64]}' has '{key}' without '{_REGION}': name the region",
                    field=f"{where}.parameters[{key}]",
                )
        return None
    region = parameters[_REGION]
    if region.WhichOneof("parameter_choice") != "string_param" or not region.string_param:
        raise _wrong_type(tensor, _REGION, "a string_param that is not empty", where)
    if _NBYTES not in parameters:
        raise InvalidRequest(
            f"'{tensor.name[:64]}' lies in a region of shared memory without '{_NBYTES}': say how "
            "many bytes are its",
            field=f"{where}.parameters",
        )
    return Place(
        region.string_param,
        _count(tensor, _OFFSET, where) if _OFFSET in parameters else 0,
        _count(tensor, _NBYTES, where),
    )


def _classes(tensor: Tensor, where: str) -> int:
    if _CLASSES not in tensor.parameters:
        return 0
    count = _integer(tensor.parameters[_CLASSES])
    if count is None:
        raise _wrong_type(tensor, _CLASSES, "an int64_param", where)
    if count <= 0:
        raise InvalidRequest(
            f"output '{tensor.name[:64]}' has classification {count}, expected 1 or more classes",
            field=f"{where}.parameters[{_CLASSES}]",
        )
    return count


def _count(tensor: Tensor, key: str, where: str) -> int:
    count = _integer(tensor.parameters[key])
    if count is None or count < 0:
        raise _wrong_type(tensor, key, "an int64_param of 0 or more", where)
    return count


def _integer(value: InferParameter) -> int | None:
    kind = value.WhichOneof("parameter_choice")
    if kind == "int64_param":
        return value.int64_param
    return value.uint64_param if kind == "uint64_param" else None


def _wrong_type(tensor: Tensor, key: str, expected: str, where: str) -> InvalidRequest:
    got = tensor.parameters[key].WhichOneof("parameter_choice") or "nothing"
    return InvalidRequest(
        f"invalid value for '{key}' of '{tensor.name[:64]}': got a {got}, expected {expected}",
        field=f"{where}.parameters[{key}]",
    )
