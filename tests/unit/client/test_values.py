"""Values of every kind on their way through the wire and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inferd.client import Client, InvalidInput
from inferd.client.codec.arrays import from_numpy, round_to_bf16, to_numpy
from inferd.client.codec.values import read_value
from inferd.wire.dtypes import DATATYPES

NUMERIC = [name for name in DATATYPES if name not in ("BYTES", "BF16")]


@pytest.mark.parametrize("datatype", NUMERIC)
def test_numpy_comes_back_as_it_went(client: Client, datatype: str) -> None:
    """Every numeric datatype keeps dtype, shape and values, at its limits too."""
    dtype = np.dtype(DATATYPES[datatype].numpy)
    if dtype.kind == "b":
        array = np.array([[True, False]])
    elif dtype.kind == "f":
        array = np.array([[np.finfo(dtype).min, np.nan], [np.inf, -0.0]], dtype)
    else:
        array = np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max]], dtype)
    answer = client.model(f"identity-{datatype.lower()}")(array)
    assert answer.dtype == dtype
    np.testing.assert_array_equal(answer, array)
    assert answer.tobytes() == array.tobytes()


@pytest.mark.parametrize("datatype", [*NUMERIC, "BF16"])
def test_torch_comes_back_as_torch(client: Client, datatype: str) -> None:
    """Every datatype that torch has keeps dtype, shape and values; the answer can be written to."""
    numpy = DATATYPES[datatype].numpy
    dtype: torch.dtype = getattr(torch, "bfloat16" if datatype == "BF16" else np.dtype(numpy).name)
    tensor = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    answer = client.model(f"identity-{datatype.lower()}")(tensor)
    assert isinstance(answer, torch.Tensor)
    assert answer.dtype == dtype
    assert torch.equal(answer, tensor)
    answer[0, 0] = 1


def test_torch_tensors_may_be_views_or_need_gradients(client: Client) -> None:
    """What the tensor shows is sent, whatever lies behind it."""
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T.requires_grad_()
    answer = client.model("identity-fp32")(tensor)
    assert torch.equal(answer, tensor)
    assert not answer.requires_grad


def test_text_with_torch_stays_numpy(client: Client) -> None:
    """There is no text in torch: a BYTES output beside torch ones is an object array of bytes."""
    answer = client.model("pair")(torch.ones(1, 3), [[1]], [["é"]])
    assert isinstance(answer["first"], torch.Tensor)
    assert isinstance(answer["second"], torch.Tensor)
    assert answer["third"].tolist() == [["é".encode()]]


@pytest.mark.parametrize(
    "array",
    [
        np.array([["a", "é"]]),
        np.array([[b"a", "é".encode()]]),
        np.array([["a", "é"]], dtype=object),
        np.array([["a", "é"]], dtype=np.dtypes.StringDType()),
        [["a", "é".encode()]],
    ],
)
def test_text_is_sent_as_utf_8(client: Client, array: object) -> None:
    """Every way to hold strings or bytes in Python is BYTES on the wire."""
    answer = client.model("identity-bytes")(array)
    assert answer.tolist() == [[b"a", "é".encode()]]


def test_bytes_keep_zeros_and_emptiness(client: Client) -> None:
    """Bytes are opaque: zeros at the end and empty elements survive."""
    elements = [[b"\0\0", b""], [b"\xff", b"a\0"]]
    assert client.model("identity-bytes")(elements).tolist() == elements


def test_bf16_rounds_to_nearest_even_and_widens() -> None:
    """float32 goes to the nearest BF16, ties to even; infinities and NaN stay what they are."""
    bits = np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32)
    edges = np.array([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800001, 0xFFFFFFFF], np.uint32)
    array = np.concatenate([bits, edges]).view(np.float32)
    expected = torch.from_numpy(array).to(torch.bfloat16)
    number = ~np.isnan(array)
    patterns = expected.view(torch.int16).numpy().view(np.uint16)
    assert (round_to_bf16(array)[number] == patterns[number]).all()
    widened = to_numpy(from_numpy(array, "BF16"), "BF16", array.shape)
    np.testing.assert_array_equal(widened, expected.float().numpy())


def test_bf16_models_take_float32_arrays_and_lists(client: Client) -> None:
    """In numpy, BF16 goes in and comes out as float32."""
    model = client.model("identity-bf16")
    assert model(np.array([[1.00390625, -2.5]], np.float32)).tolist() == [[1.0, -2.5]]
    assert model([[1.5, 2]]).dtype == np.float32


def test_the_bfloat16_that_ml_dtypes_adds_to_numpy_is_taken(client: Client) -> None:
    """Arrays of that dtype are sent as they are, and never to a model of another type."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    array = np.array([[1.5, -2.5]]).astype(bfloat16)
    assert client.model("identity-bf16")(array).tolist() == [[1.5, -2.5]]
    with pytest.raises(InvalidInput, match="takes UINT16"):
        client.model("identity-uint16")(array)


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("INT64", np.array([[1, 2]], np.int32)),
        ("FP32", np.array([[1, 2]], np.float16)),
        ("FP64", np.array([[1, 2]], np.float32)),
        ("FP32", np.array([[1, 2]], np.uint8)),
        ("FP32", np.array([[1, 2]], ">f4")),
        ("FP32", np.array([[1, 0], [2, 0]], np.float32).T[:1]),
        ("INT8", [[1, 2]]),
        ("FP16", [[1.0, 2]]),
        ("FP32", ((1, 2.0),)),
        ("FP32", [np.array([1, 2])]),
        ("UINT64", np.array([[True, True]])),
        ("FP32", torch.tensor([[1, 2]], dtype=torch.bfloat16)),
        ("INT64", torch.tensor([[1, 2]], dtype=torch.uint8)),
    ],
)
def test_lossless_casts_are_made(client: Client, datatype: str, array: Any) -> None:
    """What can become the model's datatype without loss does."""
    answer = client.model(f"identity-{datatype.lower()}")(array)
    name = str(answer.dtype).removeprefix("torch.")
    assert name == np.dtype(DATATYPES[datatype].numpy).name
    given = array.float() if isinstance(array, torch.Tensor) else np.asarray(array)
    assert answer.tolist() == given.tolist()


@pytest.mark.parametrize(
    ("datatype", "value", "text"),
    [
        ("FP32", np.zeros((1, 2)), "float64 array, the model takes FP32.*astype.numpy.float32"),
        ("INT32", np.zeros((1, 2), np.int64), "int64 array, the model takes INT32"),
        ("INT64", np.zeros((1, 2), np.float32), "float32 array, the model takes INT64"),
        ("FP16", np.zeros((1, 2), np.float32), "float32 array, the model takes FP16"),
        ("BF16", np.zeros((1, 2)), "takes BF16.*astype.numpy.float32"),
        ("BF16", np.zeros((1, 2), np.uint16), "uint16 array, the model takes BF16"),
        ("BF16", torch.zeros(1, 2), r"torch.float32 tensor.*tensor.to\(torch.bfloat16\)"),
        ("FP32", torch.zeros(1, 2, dtype=torch.float64), r"tensor.to\(torch.float32\)"),
        ("FP32", torch.zeros(1, 2).to_sparse(), "to_dense"),
        ("FP32", torch.zeros(1, 2).to(torch.float8_e4m3fn), "float8_e4m3fn.*does not have"),
        ("FP32", np.zeros((1, 2), complex), "complex128, which the protocol does not have"),
        ("FP32", np.array([["1", "2"]]), "takes FP32.*pass numbers"),
        ("BYTES", np.zeros((1, 2)), "takes BYTES"),
        ("BYTES", np.array([[1, None]], object), "int objects"),
        ("BYTES", [["a", 1]], "int objects"),
        ("BYTES", [[1, 2]], "holds numbers, the model takes BYTES"),
        ("FP32", [["1", "2"]], "holds text, the model takes FP32"),
        ("INT64", [[1, 1.5]], "the model takes INT64"),
        ("BOOL", [[0, 1]], "the model takes BOOL"),
        ("UINT8", [[1, 256]], "does not fit UINT8"),
        ("UINT8", [[1, -1]], "does not fit UINT8"),
        ("UINT8", [np.array([1, 256])], "does not fit UINT8"),
        ("INT64", [[1, 2**70]], "fits no datatype"),
        ("FP16", [[1, 1e6]], "does not fit FP16"),
        ("FP32", [[1, 2], [3]], "equally long"),
        ("FP32", None, "NoneType"),
        ("FP32", {"x": 1}, "dict"),
        ("FP32", object(), "or no number"),
    ],
)
def test_lossy_or_wrong_values_are_refused(datatype: str, value: object, text: str) -> None:
    """Nothing is cast at a loss: the message tells what came, what is taken and what to do."""
    with pytest.raises(InvalidInput, match=text) as caught:
        read_value("x", datatype, value)
    assert caught.value.argument == "x"
    assert "'x'" in caught.value.message


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (np.zeros(2, np.float16), "FP16"),
        ([1.5], "FP64"),
        ([1], "INT64"),
        (True, "BOOL"),
        ("text", "BYTES"),
        ([b"a", "b"], "BYTES"),
        (torch.zeros(1, dtype=torch.bfloat16), "BF16"),
    ],
)
def test_models_of_any_datatype_get_what_is_given(value: object, datatype: str) -> None:
    """Where a model takes every datatype, the value's own is sent."""
    assert read_value("x", None, value).datatype == datatype


def test_contiguous_arrays_are_not_copied_before_the_request() -> None:
    """The raw form of a contiguous array is the array's own memory."""
    array = np.zeros((4, 4), np.float32)
    raw = read_value("x", "FP32", array).raw()
    assert np.shares_memory(np.frombuffer(raw, np.uint8), array)


@given(st.lists(st.binary(max_size=8), max_size=12))
def test_any_bytes_survive(elements: list[bytes]) -> None:
    """BYTES round trips, whatever the elements."""
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    raw = from_numpy(array, "BYTES")
    assert to_numpy(raw, "BYTES", array.shape).tolist() == elements


@pytest.mark.parametrize("shape", [(), (0, 2), (3, 0), (1, 1, 1, 1)])
def test_shapes_survive(client: Client, shape: tuple[int, ...]) -> None:
    """Scalars, empty and many-dimensional tensors keep their shape."""
    if shape:
        answer = client.model("echo")(np.ones(shape, np.float32))
        assert answer.shape == shape
    raw = from_numpy(np.ones(shape, np.float32), "FP32")
    assert to_numpy(raw, "FP32", shape).shape == shape
