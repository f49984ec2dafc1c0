"""Bodies in pieces, and packed ones."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferd.server.gateway.http.body import Body, unpack
from inferd.wire.errors import InvalidRequest, MessageTooLarge


@given(st.lists(st.binary(max_size=20), max_size=8), st.data())
def test_what_is_taken_comes_in_order(pieces: list[bytes], data: st.DataObject) -> None:
    """Whatever the pieces and the sizes asked for, and nothing is copied."""
    body = Body(pieces)
    whole = b"".join(pieces)
    assert body.nbytes == len(whole)
    at = 0
    while body.nbytes:
        size = data.draw(st.integers(1, body.nbytes))
        taken = body.take(size)
        assert b"".join(taken) == whole[at : at + size]
        assert all(view.obj in pieces for view in taken)
        at += size
    assert (at, body.rest()) == (len(whole), b"")


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "zlib"]), st.integers(1, 300))
def test_packed_bytes_come_out_again(plain: bytes, way: str, size: int) -> None:
    """However they are cut; one byte less than they have is too much."""
    packed = gzip.compress(plain) if way == "gzip" else zlib.compress(plain)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert b"".join(unpack(pieces, len(plain))) == plain
    if plain:
        with pytest.raises(MessageTooLarge):
            unpack(pieces, len(plain) - 1)
    for wrong in (pieces[:-1], [*pieces, b"x"], [b"x", *pieces]):
        with pytest.raises(InvalidRequest):
            unpack(wrong, len(plain))


def test_a_bomb_is_not_unpacked() -> None:
    """A gigabyte in a megabyte stops at the limit: it would not fit in the time of a test."""
    packer = zlib.compressobj()
    mega = bytes(1 << 20)
    packed = [packer.compress(mega) for _ in range(200)]
    packed.append(packer.flush())
    with pytest.raises(MessageTooLarge, match="max_message_bytes"):
        unpack(packed, 1 << 16)
