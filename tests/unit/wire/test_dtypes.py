"""The datatypes of the protocol and the signatures made of them."""

from __future__ import annotations

import numpy as np
import pytest

from inferd.protos.oip_pb2 import InferTensorContents
from inferd.wire.dtypes import DATATYPES, datatype_of
from inferd.wire.signature import Axis, TensorSpec, byte_size


def test_sizes_agree_with_numpy() -> None:
    """The size of an element is that of its numpy twin; BYTES has none."""
    for name, datatype in DATATYPES.items():
        assert name == datatype.name
        if name != "BYTES":
            assert np.dtype(datatype.numpy).itemsize == datatype.itemsize
    assert DATATYPES["BYTES"].itemsize == 0


def test_typed_lists_are_fields_of_the_protocol() -> None:
    """Only FP16 and BF16 have none."""
    lists = {datatype.typed_list for datatype in DATATYPES.values()}
    assert lists - {None} == set(InferTensorContents.DESCRIPTOR.fields_by_name)
    assert {n for n, d in DATATYPES.items() if d.typed_list is None} == {"FP16", "BF16"}


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("<f4", "FP32"),
        (">f4", "FP32"),
        ("?", "BOOL"),
        ("<u2", "UINT16"),
        ("<f2", "FP16"),
        ("O", "BYTES"),
        ("S3", "BYTES"),
        ("U3", "BYTES"),
        ("c8", None),
    ],
)
def test_numpy_dtypes_have_names(dtype: str, name: str | None) -> None:
    """What the protocol cannot carry has no name."""
    assert datatype_of(np.dtype(dtype)) == name


def test_sizes_do_not_overflow() -> None:
    """A product beyond 64 bits is the true number (M44)."""
    assert byte_size("FP32", (2**62, 4)) == 2**66
    assert byte_size("FP32", (2**62, 0)) == 0
    assert byte_size("BYTES", (5,)) == 0


def test_a_spec_shows_its_free_dimensions() -> None:
    """-1 for each, a single -1 for any rank; sizes of symbols bind them."""
    spec = TensorSpec("x", "FP32", (Axis("b"), 3, Axis("n")))
    assert spec.shape == (-1, 3, -1)
    assert spec.bound_shape({"b": 2, "n": 5}) == (2, 3, 5)
    assert spec.bound_shape({"b": 2}) is None
    free = TensorSpec("x", "ANY", None)
    assert free.shape == (-1,)
    assert free.bound_shape({}) is None
