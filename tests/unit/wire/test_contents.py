"""Typed tensor contents turned into raw bytes, each value checked."""

from __future__ import annotations

import numpy as np
import pytest

from inferd.protos.oip_pb2 import InferTensorContents
from inferd.wire.contents import raw_contents
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest

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
    "FP32": [-0.0, float("inf")],
    "FP64": [5e-324, float("-inf")],
}


def contents_of(datatype: str, values: list[object]) -> InferTensorContents:
    """Contents with the values in the datatype's own list."""
    contents = InferTensorContents()
    typed_list = DATATYPES[datatype].typed_list
    assert typed_list is not None
    getattr(contents, typed_list).extend(values)
    return contents


def refusal(contents: InferTensorContents, datatype: str, *shape: int) -> InvalidRequest:
    """What turning these contents into bytes raises."""
    with pytest.raises(InvalidRequest) as caught:
        raw_contents(contents, "x", datatype, shape, "inputs[0].contents")
    return caught.value


@pytest.mark.parametrize("datatype", sorted(_VALUES))
def test_the_extremes_of_every_datatype_survive(datatype: str) -> None:
    """Smallest and largest value become exactly the bytes of the datatype."""
    values = _VALUES[datatype]
    raw = raw_contents(contents_of(datatype, values), "x", datatype, (2,), "f")
    assert raw == np.array(values, np.dtype(DATATYPES[datatype].numpy)).tobytes()


def test_bytes_elements_are_framed() -> None:
    """Each element gets its length; NUL and bytes that are no text stay as they are (M70)."""
    contents = InferTensorContents(bytes_contents=[b"\x00\xff", b""])
    assert raw_contents(contents, "x", "BYTES", (2,), "f") == b"\2\0\0\0\0\xff\0\0\0\0"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 300),
        ("INT8", -129),
        ("INT16", 70000),
        ("UINT8", 256),
        ("UINT16", 65536),
    ],
)
def test_a_value_that_does_not_fit_is_refused_not_cut(datatype: str, value: int) -> None:
    """The error says which value and where (M60)."""
    error = refusal(contents_of(datatype, [1, value]), datatype, 2)
    typed_list = DATATYPES[datatype].typed_list
    assert error.reason == "VALUE_OUT_OF_RANGE"
    assert error.field == f"inputs[0].contents.{typed_list}[1]"
    assert str(value) in error.message


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "NONE"])
def test_datatypes_without_a_list_are_raw_only(datatype: str) -> None:
    """FP16 and BF16 have no typed contents (M35), and what is no datatype has none either."""
    error = refusal(InferTensorContents(fp32_contents=[1]), datatype, 1)
    assert "raw_input_contents" in error.message


def test_the_right_list_for_another_datatype_is_refused() -> None:
    """fp32_contents for INT32 names both lists (M58), also beside the right one."""
    contents = InferTensorContents(fp32_contents=[1])
    assert refusal(contents, "INT32", 1).field == "inputs[0].contents.fp32_contents"
    contents.int_contents.append(1)
    assert refusal(contents, "INT32", 1).field == "inputs[0].contents.fp32_contents"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_values_as_the_shape_says(count: int) -> None:
    """Missing and surplus values are refused with both numbers (M56, M67)."""
    error = refusal(InferTensorContents(fp32_contents=[0.5] * count), "FP32", 1, 2)
    assert f"{count} values" in error.message
    assert "has 2" in error.message
