"""Reading a ModelInferRequest: a bounded parse, tensors as views into the request's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from inferd.protos.oip_pb2 import InferParameter, ModelInferRequest
from inferd.wire.contents import raw_contents
from inferd.wire.errors import InvalidRequest
from inferd.wire.tensor_parameters import TensorParameters, read_tensor_parameters
from inferd.wire.tensors import Buffer

SMALL_REQUEST = 32 * 1024
"""Up to this size in bytes protobuf copies tensors faster than Python finds them."""

MAX_FIELDS = 256
"""Inputs, outputs, parameters or raw tensors of one request, and fields of one input."""

MAX_RANK = 32
"""Dimensions of one tensor."""

MAX_PARAMETER_BYTES = 64 * 1024
"""All parameters of one request: they reach the model in one message to its worker."""

_INPUTS, _OUTPUTS, _RAW = 5, 6, 7  # field numbers of ModelInferRequest
_SHAPE = 3  # field number of ModelInferRequest.InferInputTensor
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)  # protobuf wire types

InputHead = tuple[str, str, tuple[int, ...]]
"""Name, datatype and shape of one input, as they arrived."""

Parameter = bool | int | float | str


class InferMessage:
    """One ModelInferRequest. `inputs` and `outputs` keep the request's order."""

    __slots__ = ("_message", "_raw", "_tensors", "id", "inputs", "model", "outputs", "version")

    def __init__(self, payload: bytes) -> None:
        """Parse the head of `payload`; the tensors' contents are looked at later, by `buffers`.

        Raises `InvalidRequest` for bytes that are no such message, and for more fields than
        any honest request has, before they cost memory.
        """
        self._message, self._raw = _parse(payload)
        message = self._message
        self.model = message.model_name
        self.version = message.model_version
        self.id = message.id
        # A slice of a repeated field costs half of iterating over it.
        self._tensors = message.inputs[:]
        outputs = message.outputs[:]
        if len(self._tensors) > MAX_FIELDS or len(outputs) > MAX_FIELDS:
            raise too_large()
        self.inputs: tuple[InputHead, ...] = tuple(
            [(each.name, each.datatype, tuple(each.shape[:])) for each in self._tensors]
        )
        self.outputs: tuple[str, ...] = tuple([each.name for each in outputs])
        for position, (_, _, shape) in enumerate(self.inputs):
            if len(shape) > MAX_RANK:
                raise InvalidRequest(
                    f"an input has {len(shape)} dimensions, at most {MAX_RANK} are taken",
                    reason="STRUCTURE_TOO_LARGE",
                    field=f"inputs[{position}].shape",
                )

    @property
    def plain(self) -> bool:
        """Whether all that tells this request from others of its form is its raw tensors."""
        return bool(self._raw) and not self.id and not self._message.parameters

    def asks_for(self, flag: str) -> bool:
        """Whether this parameter is true; that it is a boolean is for others to see to."""
        given = self._message.parameters
        return bool(given) and flag in given and given[flag].bool_param

    def buffers(self, elsewhere: Mapping[int, Buffer] | None = None) -> Sequence[Buffer]:
        """The raw bytes of every input, in the request's order.

        Inputs whose data is `elsewhere`, by position, have none in the message. Raises
        `InvalidRequest` where data is missing, given twice or does not fit its datatype (typed
        contents only: raw bytes are checked against the model's signature).
        """
        tensors, raw = self._tensors, self._raw
        if not elsewhere:
            return _contents(tensors, self.inputs, raw)
        for at in elsewhere:
            if tensors[at].HasField("contents"):
                raise InvalidRequest(
                    f"input '{tensors[at].name}' has contents and lies in shared memory",
                    field=f"inputs[{at}].contents",
                )
        here = [at for at in range(len(tensors)) if at not in elsewhere]
        given = _contents([tensors[at] for at in here], [self.inputs[at] for at in here], raw)
        found = {**elsewhere, **dict(zip(here, given, strict=True))}
        return [found[at] for at in range(len(found))]

    def parameters(self) -> dict[str, Parameter] | None:
        """The request's parameters; None where there are none.

        Raises `InvalidRequest` for one without a value or with a uint64 that is not `priority`.
        """
        given = self._message.parameters
        if not given:
            return None
        if len(given) > MAX_FIELDS:
            raise too_large()
        nbytes = sum([len(key.encode()) + value.ByteSize() for key, value in given.items()])
        if nbytes > MAX_PARAMETER_BYTES:
            raise InvalidRequest(
                f"the parameters have {nbytes} bytes, at most {MAX_PARAMETER_BYTES} are taken; "
                "send what is large as a tensor",
                reason="STRUCTURE_TOO_LARGE",
                field="parameters",
            )
        return {key: _parameter(key[:64], value) for key, value in sorted(given.items())}

    def tensor_parameters(self) -> TensorParameters | None:
        """What the parameters of single tensors ask for; None where no tensor has any.

        Raises `InvalidRequest` for values of the wrong type.
        """
        outputs = self._message.outputs[:]
        if any(each.parameters for each in self._tensors) or any(
            each.parameters for each in outputs
        ):
            return read_tensor_parameters(self._tensors, outputs)
        return None


def _contents(
    tensors: Sequence[ModelInferRequest.InferInputTensor],
    heads: Sequence[InputHead],
    raw: Sequence[Buffer],
) -> Sequence[Buffer]:
    if raw:
        for index, each in enumerate(tensors):
            # MLServer's client leaves an empty one beside its raw contents.
            if each.HasField("contents") and each.contents.ByteSize():
                raise InvalidRequest(
                    f"contents field must not be specified when using raw_input_contents "
                    f"for input '{each.name}'",
                    field=f"inputs[{index}].contents",
                )
        if len(raw) != len(tensors):
            raise InvalidRequest(
                f"raw_input_contents has {len(raw)} entries, the request has "
                f"{len(tensors)} inputs: unable to find data for each of them",
                field="raw_input_contents",
            )
        return raw
    buffers: list[Buffer] = []
    for index, (each, (name, datatype, shape)) in enumerate(zip(tensors, heads, strict=True)):
        if not each.HasField("contents"):
            if 0 in shape:
                buffers.append(b"")
                continue
            raise InvalidRequest(
                f"unable to find data for input tensor '{name}': neither "
                "raw_input_contents nor contents is given",
                field=f"inputs[{index}].contents",
            )
        buffers.append(
            raw_contents(each.contents, name, datatype, shape, f"inputs[{index}].contents")
        )
    return buffers


def names_in(payload: bytes) -> tuple[str, str, str]:
    """Model, version and id of a serialised request; the rest is not checked.

    Raises `InvalidRequest` for bytes that are no such message, or hold too many fields.
    """
    message, _ = _parse(payload)
    return message.model_name, message.model_version, message.id


def _parse(payload: bytes) -> tuple[ModelInferRequest, Sequence[Buffer]]:
    try:
        if len(payload) <= SMALL_REQUEST:
            message = ModelInferRequest.FromString(payload)
            return message, message.raw_input_contents[:]
        view = memoryview(payload)
        spans = raw_spans(payload)
        head = skeleton(payload, spans, with_tags=False)
        return ModelInferRequest.FromString(head), [view[start:end] for _, start, end in spans]
    except (DecodeError, IndexError) as error:
        raise InvalidRequest(
            f"the {len(payload)} bytes received are not an inference.ModelInferRequest",
            reason="MALFORMED_MESSAGE",
        ) from error


Span = tuple[int, int, int]
"""Of one raw tensor in a serialised request: where its field, its data and what follows begin."""


def raw_spans(payload: bytes) -> list[Span]:
    """Where the raw tensors lie in a serialised request: no byte of them is copied.

    Field layout: https://protobuf.dev/programming-guides/encoding/. Raises `InvalidRequest` for
    more fields than any honest request has, `DecodeError` or `IndexError` for broken ones.
    """
    spans: list[Span] = []
    counts: dict[int, int] = {}
    at, size = 0, len(payload)
    while at < size:
        start = at
        tag, at = _varint(payload, at)
        number, kind = tag >> 3, tag & 7
        counts[number] = counts.get(number, 0) + 1
        if counts[number] > MAX_FIELDS or len(counts) > MAX_FIELDS:
            raise too_large()
        if kind == _BYTES:
            length, at = _varint(payload, at)
            if number == _RAW:
                spans.append((start, at, at + length))
            elif number in (_INPUTS, _OUTPUTS):
                _count_fields(payload, at, at + length, kind)
            at += length
        elif kind == _GROUP:
            at = _count_fields(payload, at, size, kind)
        else:
            at = _skip(payload, at, kind)
    if at != size:
        raise DecodeError
    return spans


def skeleton(payload: bytes, spans: Sequence[Span], *, with_tags: bool) -> bytes:
    """The request without its raw tensors' data; without the fields' tags it is a request."""
    pieces, at = [], 0
    for field, start, end in spans:
        pieces.append(payload[at : start if with_tags else field])
        at = end
    pieces.append(payload[at:])
    return b"".join(pieces)


def _count_fields(payload: bytes, at: int, end: int, kind: int) -> int:
    """Where a submessage ends that was begun with this wire type; raises if it is too large."""
    fields, depth = 0, int(kind == _GROUP)
    while at < end:
        tag, at = _varint(payload, at)
        fields += 1
        if fields > MAX_FIELDS:
            raise too_large()
        within = tag & 7
        if within == _BYTES:
            length, at = _varint(payload, at)
            if at + length > end:
                raise DecodeError
            if tag >> 3 == _SHAPE and length > 10 * MAX_RANK:
                raise too_large()
            at += length
        elif within in (_GROUP, _GROUP_END):
            depth += 1 if within == _GROUP else -1
            if depth == 0 and kind == _GROUP:
                return at
        else:
            at = _skip(payload, at, within)
    return at


def _skip(payload: bytes, at: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(payload, at)[1]
    if kind == _FIXED64:
        return at + 8
    if kind == _FIXED32:
        return at + 4
    raise DecodeError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
    raise DecodeError


def _parameter(key: str, parameter: InferParameter) -> Parameter:
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        raise InvalidRequest(
            f"parameter '{key}' has no value; set one of bool_param, int64_param, double_param "
            "and string_param",
            field=f"parameters[{key}]",
        )
    if choice == "uint64_param" and key != "priority":
        raise InvalidRequest(
            f"invalid value type for '{key}': uint64_param is for 'priority' alone; "
            "use int64_param",
            field=f"parameters[{key}]",
        )
    value: Parameter = getattr(parameter, choice)
    return value


def too_large() -> InvalidRequest:
    """The error for more fields than `MAX_FIELDS`."""
    return InvalidRequest(
        f"the request has more than {MAX_FIELDS} inputs, outputs, parameters or fields in one input",
        reason="STRUCTURE_TOO_LARGE",
    )
