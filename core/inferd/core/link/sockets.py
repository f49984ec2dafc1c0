"""Sockets that carry whole messages, and file descriptors beside them."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

Sent = TypeVar("Sent")
Received = TypeVar("Received")

MESSAGE_LIMIT = 1 << 20
"""Largest message in bytes; tensors travel through arenas, so only long signatures come near."""

_FD_LIMIT = 4


class PeerGone(ConnectionError):
    """The process at the other end has closed its socket or died."""


class MessageSocket(Generic[Sent, Received]):
    """One end of a SOCK_SEQPACKET pair; sends one union of types and receives another.

    Sending is safe from several threads, receiving from one at a time.
    """

    def __init__(self, sock: socket.socket, receives: object) -> None:
        self._sock = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder = msgspec.msgpack.Decoder(receives)
        self._buffer = bytearray(MESSAGE_LIMIT)
        self._view = memoryview(self._buffer)
        # The default buffer refuses messages above 200 KB; the kernel grants what it allows.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MESSAGE_LIMIT)

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._sock.fileno()

    def send(self, message: Sent, fds: Sequence[int] = ()) -> None:
        """Send one message, with duplicates of `fds` beside it.

        Raises `PeerGone` when there is nobody to receive it.
        """
        try:
            if fds:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                self._sock.sendmsg([self._encode(message)], ancillary)
            else:
                self._sock.send(self._encode(message))
        except (BrokenPipeError, ConnectionError) as gone:
            raise PeerGone(str(gone)) from gone

    def receive(self) -> Received:
        """Wait for one message that brings no descriptor.

        Raises `PeerGone` at end of file, `BlockingIOError` on a non-blocking socket without
        a message, `msgspec.ValidationError` on one that is not of this socket's union.
        """
        try:
            size = self._sock.recv_into(self._buffer)
        except ConnectionError as gone:
            raise PeerGone(str(gone)) from gone
        if size == 0:
            raise PeerGone("end of file")
        message: Received = self._decoder.decode(self._view[:size])
        return message

    def receive_with_fds(self) -> tuple[Received, list[int]]:
        """Wait for one message; the caller owns the descriptors that came with it."""
        try:
            size, ancillary, _, _ = self._sock.recvmsg_into(
                [self._buffer],
                socket.CMSG_SPACE(_FD_LIMIT * array.array("i").itemsize),
                socket.MSG_CMSG_CLOEXEC,
            )
        except ConnectionError as gone:
            raise PeerGone(str(gone)) from gone
        if size == 0:
            raise PeerGone("end of file")
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        try:
            message: Received = self._decoder.decode(self._view[:size])
        except msgspec.DecodeError:
            for fd in fds:
                os.close(fd)
            raise
        return message, list(fds)

    def set_blocking(self, *, blocking: bool) -> None:
        """Whether receiving waits for a message."""
        self._sock.setblocking(blocking)

    def hang_up(self) -> None:
        """Let whoever waits at either end see end of file; safe from another thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; the other end sees end of file."""
        self._sock.close()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; neither is inherited by a child unless it is passed on purpose."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def adopt(fd: int) -> socket.socket:
    """The socket behind a descriptor that another process sent or left to this one."""
    return socket.socket(fileno=fd)
