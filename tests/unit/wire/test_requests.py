"""The envelope of a ModelInferRequest: what is refused before a tensor is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferd.protos.oip_pb2 import InferParameter, InferTensorContents, ModelInferRequest
from inferd.wire import requests
from inferd.wire.errors import InvalidRequest, Unimplemented
from inferd.wire.requests import MAX_FIELDS, MAX_PARAMETER_BYTES, MAX_RANK, InferMessage


@pytest.fixture(params=["small", "large"])
def parse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    """Both ways of reading a request: all by protobuf, and the tensors found in Python."""
    monkeypatch.setattr(requests, "SMALL_REQUEST", 1 << 30 if request.param == "small" else -1)
    return InferMessage


Parse = Callable[[bytes], InferMessage]


def refusal(parse: Parse, payload: bytes) -> InvalidRequest:
    """What reading these bytes to the last value raises."""

    def read() -> None:
        message = parse(payload)
        message.parameters()
        message.buffers()

    with pytest.raises(InvalidRequest) as caught:
        read()
    return caught.value


def one_input(datatype: str = "FP32", *shape: int) -> ModelInferRequest:
    """A request with one input, without data."""
    message = ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    return message


def test_everything_of_a_request_is_read(parse: Parse) -> None:
    """Names, version, id, heads, outputs, parameters and raw bytes arrive as they were sent."""
    sent = one_input("FP32", 2, 3)
    sent.inputs.add(name="z", datatype="BYTES", shape=[1])
    sent.outputs.add(name="y")
    sent.model_version, sent.id = "3", "call-1"
    sent.parameters["b"].double_param = 0.5
    sent.parameters["a"].bool_param = True
    sent.raw_input_contents.extend([b"a" * 24, b"\1\0\0\0!"])
    message = parse(sent.SerializeToString())
    assert (message.model, message.version, message.id) == ("m", "3", "call-1")
    assert message.inputs == (("x", "FP32", (2, 3)), ("z", "BYTES", (1,)))
    assert message.outputs == ("y",)
    assert message.parameters() == {"a": True, "b": 0.5}
    assert [bytes(each) for each in message.buffers()] == [b"a" * 24, b"\1\0\0\0!"]


def test_no_bytes_are_an_empty_request(parse: Parse) -> None:
    """Zero bytes are a valid message; what it lacks is for those who use it to say."""
    message = parse(b"")
    assert (message.model, message.inputs, message.parameters()) == ("", (), None)
    assert list(message.buffers()) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff\xff",
        b"\x0a\x7fshort",  # a length beyond the end
        b"\x3a\x05abc",  # the same in a raw tensor
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a length that does not end
        b"\x0f",  # a wire type that is none
        b"\x2b\x08\x01",  # a group that does not end
        b"\x29\x01",  # eight bytes announced, one there
        b"\x0a\x02\xc3\x28",  # invalid UTF-8 in model_name
        b"\x1a\x01\xff",  # in id
        b"\x2a\x03\x0a\x01\xff",  # in an input's name
        b"\x22\x05\x0a\x01\xff\x12\x00",  # in a parameter's key
    ],
)
def test_bytes_that_are_no_request_are_malformed(parse: Parse, payload: bytes) -> None:
    """Whatever the breakage, it is the caller's fault, told without echoing the bytes."""
    error = refusal(parse, payload)
    assert error.reason == "MALFORMED_MESSAGE"
    assert f"{len(payload)} bytes" in error.message


def test_fields_of_newer_clients_are_ignored(parse: Parse) -> None:
    """Unknown fields of every wire type, groups too, change nothing."""
    known = one_input("INT8", 1)
    known.raw_input_contents.append(b"\1")
    unknown = (
        b"\xa0\x06\x01"  # field 100, a number
        b"\xa1\x06" + bytes(8) + b"\xa5\x06" + bytes(4) + b"\xa2\x06\x02ab"
        b"\xa3\x06\x08\x01\xab\x06\x12\x01c\xac\x06\xa4\x06"  # a group within a group
    )
    message = parse(unknown + known.SerializeToString() + unknown)
    assert message.inputs == (("x", "INT8", (1,)),)
    assert [bytes(each) for each in message.buffers()] == [b"\1"]


def test_a_million_empty_inputs_are_too_many(parse: Parse) -> None:
    """They are refused, in the large form before they cost memory."""
    assert refusal(parse, b"\x2a\x00" * 100_000).reason == "STRUCTURE_TOO_LARGE"


@pytest.mark.parametrize(
    "payload",
    [
        b"".join(b"\xa0%c\x01" % (6 + n % 100) for n in range(MAX_FIELDS * 120)),
        b"".join(
            bytes([(n << 3) & 127 | 128, n >> 4 & 127 | 128, n >> 11 & 127, 1])
            for n in range(200, 200 + 2 * MAX_FIELDS)
        ),
        b"\x32" + b"\xd8\x04" + b"\x12\x00" * 300,  # one output with 300 parameters
        b"\x2a" + b"\xc3\x02" + b"\x1a\xc0\x02" + b"\x01" * 320,  # one shape of 320 dimensions
        b"\xa3\x06" + b"\x08\x01" * 400 + b"\xa4\x06",  # a group of 400 fields
        b"\x32\x00" * 300,  # 300 outputs
        b"\x3a\x00" * 300,  # 300 raw tensors
    ],
    ids=["repeated", "many", "parameters", "shape", "group", "outputs", "raw"],
)
def test_the_large_form_bounds_what_is_counted(
    payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No structure of a large request costs more than a few thousand steps."""
    monkeypatch.setattr(requests, "SMALL_REQUEST", -1)
    assert refusal(InferMessage, payload).reason == "STRUCTURE_TOO_LARGE"


def test_more_dimensions_than_any_tensor_has_are_refused(parse: Parse) -> None:
    """The limit is exact, and the error names the input."""
    message = parse(one_input("FP32", *[1] * MAX_RANK).SerializeToString())
    assert message.inputs == (("x", "FP32", (1,) * MAX_RANK),)
    error = refusal(parse, one_input("FP32", *[1] * (MAX_RANK + 1)).SerializeToString())
    assert (error.reason, error.field) == ("STRUCTURE_TOO_LARGE", "inputs[0].shape")


def test_typed_and_raw_data_do_not_mix(parse: Parse) -> None:
    """Both at once are refused, naming the input (M51)."""
    sent = one_input("FP32", 1)
    sent.inputs[0].contents.fp32_contents.append(1)
    sent.raw_input_contents.append(bytes(4))
    assert refusal(parse, sent.SerializeToString()).field == "inputs[0].contents"


def test_empty_typed_data_beside_raw_is_none(parse: Parse) -> None:
    """MLServer's client sends such a message: there is nothing in it that could contradict."""
    sent = one_input("FP32", 1)
    sent.inputs[0].contents.SetInParent()
    sent.raw_input_contents.append(b"abcd")
    assert [bytes(each) for each in parse(sent.SerializeToString()).buffers()] == [b"abcd"]


@pytest.mark.parametrize("given", [1, 3])
def test_each_input_has_one_raw_tensor(parse: Parse, given: int) -> None:
    """Fewer and more are refused (M52)."""
    sent = one_input("FP32", 1)
    sent.inputs.add(name="z", datatype="FP32", shape=[1])
    sent.raw_input_contents.extend([bytes(4)] * given)
    error = refusal(parse, sent.SerializeToString())
    assert f"{given} entries" in error.message
    assert error.field == "raw_input_contents"


def test_an_input_without_data_is_refused_unless_it_needs_none(parse: Parse) -> None:
    """A shape with a zero has no bytes; every other one needs data (M52, M41)."""
    assert refusal(parse, one_input("FP32", 1).SerializeToString()).field == "inputs[0].contents"
    for datatype in ("FP32", "FP16", "BYTES"):
        assert list(parse(one_input(datatype, 3, 0).SerializeToString()).buffers()) == [b""]


def test_a_parameter_needs_a_value(parse: Parse) -> None:
    """A parameter with nothing set is refused, by its shortened name (M77)."""
    sent = one_input()
    sent.parameters["k" * 1000].CopyFrom(InferParameter())
    error = refusal(parse, sent.SerializeToString())
    assert error.field == f"parameters[{'k' * 64}]"
    assert "k" * 65 not in error.message


def test_uint64_is_for_priority_alone(parse: Parse) -> None:
    """As in Triton: any other parameter takes int64."""
    sent = one_input("FP32", 0)
    sent.parameters["priority"].uint64_param = 2
    assert parse(sent.SerializeToString()).parameters() == {"priority": 2}
    sent.parameters["mine"].uint64_param = 2
    assert refusal(parse, sent.SerializeToString()).field == "parameters[mine]"


def test_parameters_are_bounded_in_number_and_size(parse: Parse) -> None:
    """They travel in one message to the worker, which has a limit; a tensor has none."""
    sent = one_input("FP32", 0)
    sent.parameters["text"].string_param = "x" * (MAX_PARAMETER_BYTES - 100)
    assert parse(sent.SerializeToString()).parameters()
    sent.parameters["more"].string_param = "x" * 100
    assert refusal(parse, sent.SerializeToString()).reason == "STRUCTURE_TOO_LARGE"
    sent = one_input("FP32", 0)
    for n in range(MAX_FIELDS + 1):
        sent.parameters[str(n)].bool_param = True
    assert refusal(parse, sent.SerializeToString()).reason == "STRUCTURE_TOO_LARGE"


@pytest.mark.parametrize("key", ["shared_memory_region", "classification"])
@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_what_tensor_parameters_ask_for_is_not_offered(parse: Parse, key: str, where: str) -> None:
    """Shared memory and classification are refused for inputs and outputs; others pass (M82)."""
    sent = one_input("FP32", 0)
    sent.outputs.add(name="y")
    getattr(sent, where)[0].parameters["binary_data"].bool_param = True
    parse(sent.SerializeToString()).refuse_tensor_parameters()
    getattr(sent, where)[0].parameters[key].string_param = "r"
    with pytest.raises(Unimplemented):
        parse(sent.SerializeToString()).refuse_tensor_parameters()


def test_typed_contents_become_raw_bytes(parse: Parse) -> None:
    """Each input's own list, in the request's order."""
    sent = one_input("INT16", 2)
    sent.inputs[0].contents.CopyFrom(InferTensorContents(int_contents=[1, -2]))
    sent.inputs.add(name="z", datatype="BYTES", shape=[1])
    sent.inputs[1].contents.bytes_contents.append(b"hi")
    raw = [bytes(each) for each in parse(sent.SerializeToString()).buffers()]
    assert raw == [b"\x01\x00\xfe\xff", b"\x02\x00\x00\x00hi"]
