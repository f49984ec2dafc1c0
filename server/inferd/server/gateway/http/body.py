"""The body of a request: read whole, bounded, unpacked, and cut without copying."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable

from starlette.requests import ClientDisconnect, Request

from inferd.wire.errors import (
    Cancelled,
    DeadlineExceeded,
    EncodingUnknown,
    InvalidRequest,
    MessageTooLarge,
)

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PACKED = ("gzip", "x-gzip", "deflate")


class Body:
    """Bytes in the pieces in which they came."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = deque(memoryview(piece) for piece in pieces if piece)
        self.nbytes = sum(len(piece) for piece in self._pieces)

    def take(self, nbytes: int) -> list[memoryview]:
        """The next `nbytes` bytes, of which there must be as many, as views."""
        taken: list[memoryview] = []
        self.nbytes -= nbytes
        while nbytes:
            piece = self._pieces.popleft()
            if len(piece) > nbytes:
                self._pieces.appendleft(piece[nbytes:])
                piece = piece[:nbytes]
            taken.append(piece)
            nbytes -= len(piece)
        return taken

    def rest(self) -> bytes:
        """All that was not taken yet, in one piece."""
        return b"".join(self.take(self.nbytes))


async def read_body(request: Request, limit: int, patience: float) -> Body:
    """The body, unpacked, of at most `limit` bytes, read within `patience` seconds.

    Raises `MessageTooLarge`, where the caller says so before any of it is read; `EncodingUnknown`;
    `InvalidRequest` where it cannot be unpacked; `DeadlineExceeded`, and `Cancelled` where the
    caller goes away.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", *_PACKED):
        raise EncodingUnknown(
            f"Content-Encoding is '{encoding[:64]}', expected gzip, deflate or none"
        )
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(patience):
            pieces = await _read(request, limit)
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {patience:g} s") from None
    except ClientDisconnect:
        raise Cancelled("the caller went away before its request was whole") from None
    if encoding in _PACKED:
        # A thousandth of what comes out goes in: on the loop it would hold up all others.
        pieces = await asyncio.to_thread(unpack, pieces, limit)
    return Body(pieces)


def unpack(pieces: Iterable[bytes], limit: int) -> list[bytes]:
    """What was packed with gzip or zlib (which HTTP calls deflate), of at most `limit` bytes.

    Raises `MessageTooLarge` as soon as there is more, and `InvalidRequest` for other bytes.
    """
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    unpacked: list[bytes] = []
    left = limit
    try:
        for piece in pieces:
            data = piece
            while data and not unpacker.eof:
                part = unpacker.decompress(data, left + 1)
                left -= len(part)
                if left < 0:
                    raise _too_large(limit)
                unpacked.append(part)
                data = unpacker.unconsumed_tail
            if unpacker.unused_data or (data and unpacker.eof):
                raise InvalidRequest("bytes follow the end of the packed body")
    except zlib.error as error:
        raise InvalidRequest(
            f"the body is not what its Content-Encoding says: {error}", reason="MALFORMED_MESSAGE"
        ) from error
    if not unpacker.eof:
        raise InvalidRequest("the packed body has no end", reason="MALFORMED_MESSAGE")
    return unpacked


async def _read(request: Request, limit: int) -> list[bytes]:
    pieces, left = [], limit
    async for piece in request.stream():
        left -= len(piece)
        if left < 0:
            raise _too_large(limit)
        pieces.append(piece)
    return pieces


def _too_large(limit: int) -> MessageTooLarge:
    return MessageTooLarge(
        f"the request has more than {limit} bytes, the most that this server takes "
        "(max_message_bytes)"
    )
