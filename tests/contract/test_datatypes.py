"""Every datatype goes through unchanged, raw and typed."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

from inferd.protos.oip_pb2 import InferTensorContents
from inferd.wire.dtypes import DATATYPES
from inferd.wire.tensors import encode_bytes
from support.calls import ANYTHING, call, request
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

_SPECIAL = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.5]

_VALUES: dict[str, list[object]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [*_SPECIAL, 6e-8],
    "FP32": [*_SPECIAL, 1e-45],
    "FP64": [*_SPECIAL, 5e-324],
    "BF16": [0, 0x7FC0, 0xFF80, 1],
    "BYTES": [b"", b"\x00\xff", "ä".encode()],
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, grpc.Channel]]:
    """The address of a gateway whose model gives back what it takes."""
    with GatewayUnderTest() as gateway:
        gateway.deploy("m", ANYTHING, [LinkWorker()])
        with grpc.insecure_channel(gateway.address) as channel:
            yield gateway.address, channel


def raw_of(datatype: str) -> bytes:
    """The values of a datatype as raw bytes."""
    values = _VALUES[datatype]
    if datatype == "BYTES":
        return encode_bytes([each for each in values if isinstance(each, bytes)])
    return np.array(values, np.dtype(DATATYPES[datatype].numpy)).tobytes()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_raw_tensors_come_back_bit_for_bit(served: tuple[str, grpc.Channel], datatype: str) -> None:
    """NaN, infinities, -0 and denormals among them (M72); NUL and non-text in BYTES (M70)."""
    raw, shape = raw_of(datatype), [len(_VALUES[datatype]), 1]
    payload = request("m", ("x", datatype, shape), raw=[raw]).SerializeToString()
    for _ in range(2):  # the second time the form is known
        response = call(served[1], payload).response
        (output,) = response.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, shape)
        assert not output.HasField("contents")
        assert list(response.raw_output_contents) == [raw]


@pytest.mark.parametrize("datatype", [n for n, d in DATATYPES.items() if d.typed_list])
def test_typed_tensors_come_back_raw(served: tuple[str, grpc.Channel], datatype: str) -> None:
    """The same bytes as if they had been sent raw; answers are always raw."""
    message = request("m", ("x", datatype, [len(_VALUES[datatype])]))
    typed_list = DATATYPES[datatype].typed_list
    assert typed_list is not None
    contents = InferTensorContents()
    getattr(contents, typed_list).extend(_VALUES[datatype])
    message.inputs[0].contents.CopyFrom(contents)
    response = call(served[1], message.SerializeToString()).response
    assert list(response.raw_output_contents) == [raw_of(datatype)]


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [[0], [3, 0, 2]])
def test_tensors_without_elements_are_tensors(
    served: tuple[str, grpc.Channel], datatype: str, shape: list[int]
) -> None:
    """Zero in a free dimension and no bytes: with an empty raw tensor or none (M41)."""
    for raw in ([b""], []):
        payload = request("m", ("x", datatype, shape), raw=raw).SerializeToString()
        response = call(served[1], payload).response
        assert list(response.outputs[0].shape) == shape
        assert list(response.raw_output_contents) == [b""]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_scalars_have_no_dimensions(served: tuple[str, grpc.Channel], datatype: str) -> None:
    """A model that takes any shape takes this one."""
    one = encode_bytes([b"one"]) if datatype == "BYTES" else bytes(DATATYPES[datatype].itemsize)
    payload = request("m", ("x", datatype, []), raw=[one]).SerializeToString()
    response = call(served[1], payload).response
    assert list(response.outputs[0].shape) == []
    assert list(response.raw_output_contents) == [one]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[True], [False]]),
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array([1.5, np.nan], np.float16),
        np.linspace(0, 1, 300_000, dtype=np.float64),
        np.array([[b"a", b"\x00"], [b"", b"long" * 50]], np.object_),
    ],
    ids=lambda array: str(array.dtype),
)
def test_tritonclient_reads_back_what_it_sent(
    served: tuple[str, grpc.Channel], array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    """An unmodified client, small and large arrays."""
    datatype = np_to_triton_dtype(array.dtype)
    tensor = triton.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    with triton.InferenceServerClient(served[0]) as client:
        back = client.infer("m", [tensor]).as_numpy("y")
    np.testing.assert_array_equal(back, array)
