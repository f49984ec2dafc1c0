"""The framing of BYTES tensors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferd.wire.tensors import decode_bytes, element_offsets, encode_bytes, row_offsets


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20)))
def test_elements_survive_the_round_trip(items: list[bytes]) -> None:
    """Any bytes, NUL and non-text among them, come back untouched (M70)."""
    raw = encode_bytes(items)
    assert decode_bytes(raw, len(items)) == items
    assert decode_bytes(memoryview(raw), len(items)) == items


@pytest.mark.parametrize(
    ("raw", "count", "complaint"),
    [
        (b"\1\0\0\0a\2", 2, "6 bytes cannot hold 2"),  # M64: part of a length
        (b"\4\0\0\0abcd\2\0\0", 2, "3 bytes are left where element 1"),
        (b"\5\0\0\0abcd", 1, "1 bytes beyond"),  # M65: a length beyond the end
        (b"\xff\xff\xff\xff", 1, "4294967295 bytes beyond"),
        (b"\1\0\0\0a", 2, "cannot hold 2"),  # M67: fewer elements than the shape
        (b"\1\0\0\0a\1\0\0\0b", 1, "5 bytes follow"),  # M67: more
        (b"x", 0, "1 bytes follow the last of 0"),
        (b"", 10**18, "cannot hold"),  # at once, without a loop over the count
    ],
)
def test_broken_framing_is_told_precisely(raw: bytes, count: int, complaint: str) -> None:
    """Every way in which lengths and bytes can disagree is a ValueError."""
    with pytest.raises(ValueError, match=complaint):
        element_offsets(raw, count)


def test_rows_are_groups_of_elements() -> None:
    """Two rows of two elements begin where their first elements begin."""
    raw = encode_bytes([b"a", b"bb", b"", b"dddd"])
    assert row_offsets(raw, 2, 2) == [0, 11, 23]
    assert row_offsets(b"", 3, 0) == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="follow the last"):
        row_offsets(b"a", 3, 0)
