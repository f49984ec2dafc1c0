"""Sockets that carry whole messages, and descriptors beside them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

from inferd.core.link.messages import (
    CloseArena,
    FromLinkedWorker,
    OpenArena,
    StopWorker,
    ToLinkedWorker,
)
from inferd.core.link.sockets import MESSAGE_LIMIT, MessageSocket, PeerGone, adopt, socket_pair

Ends = tuple[MessageSocket[ToLinkedWorker, FromLinkedWorker], MessageSocket[object, ToLinkedWorker]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two connected ends; the first one sends what a worker receives."""
    ours, theirs = socket_pair()
    sender: MessageSocket[ToLinkedWorker, FromLinkedWorker] = MessageSocket(ours, FromLinkedWorker)
    receiver: MessageSocket[object, ToLinkedWorker] = MessageSocket(theirs, ToLinkedWorker)
    yield sender, receiver
    sender.close()
    receiver.close()


def test_messages_arrive_whole_and_in_order(ends: Ends) -> None:
    """Two messages sent before either is read stay two messages."""
    sender, receiver = ends
    sender.send(CloseArena(1))
    sender.send(CloseArena(2))
    assert [receiver.receive(), receiver.receive()] == [CloseArena(1), CloseArena(2)]


def test_several_threads_may_send(ends: Ends) -> None:
    """Every message arrives whole, those of each thread in order, while another one receives."""
    sender, receiver = ends
    each = 2_000

    def send(start: int) -> None:
        for number in range(start, start + each):
            sender.send(CloseArena(number))

    threads = [threading.Thread(target=send, args=(n * each,)) for n in range(3)]
    for thread in threads:
        thread.start()
    arrived = [receiver.receive() for _ in range(3 * each)]
    for thread in threads:
        thread.join()
    numbers = [message.arena for message in arrived if isinstance(message, CloseArena)]
    assert sorted(numbers) == list(range(3 * each))
    for n in range(3):
        own = [number for number in numbers if number // each == n]
        assert own == sorted(own)


def test_descriptors_travel_beside_a_message(ends: Ends) -> None:
    """The receiver owns a duplicate that leads to the same file and is closed on exec."""
    sender, receiver = ends
    read, write = os.pipe()
    sender.send(OpenArena(1, 64), [write])
    os.close(write)
    message, fds = receiver.receive_with_fds()
    assert message == OpenArena(1, 64)
    assert len(fds) == 1
    assert not os.get_inheritable(fds[0])
    os.write(fds[0], b"through")
    assert os.read(read, 10) == b"through"
    os.close(read)
    os.close(fds[0])


def test_closing_one_end_is_seen_at_the_other(ends: Ends) -> None:
    """Receiving, with and without descriptors, and sending raise PeerGone."""
    sender, receiver = ends
    sender.close()
    with pytest.raises(PeerGone):
        receiver.receive()
    with pytest.raises(PeerGone):
        receiver.receive_with_fds()
    with pytest.raises(PeerGone):
        receiver.send(CloseArena(1))


def test_what_was_sent_before_the_end_is_still_read(ends: Ends) -> None:
    """A process that answers and dies has answered."""
    sender, receiver = ends
    sender.send(CloseArena(3))
    sender.close()
    assert receiver.receive() == CloseArena(3)
    with pytest.raises(PeerGone):
        receiver.receive()


def test_hanging_up_wakes_both_ends(ends: Ends) -> None:
    """Whoever waits, here or there, sees the end of file; hanging up twice is harmless."""
    sender, receiver = ends
    sender.hang_up()
    sender.hang_up()
    with pytest.raises(PeerGone):
        sender.receive()
    with pytest.raises(PeerGone):
        receiver.receive()


def test_a_message_of_another_union_is_refused(ends: Ends) -> None:
    """What this socket does not receive is no message, and its descriptors are closed."""
    sender, receiver = ends
    read, write = os.pipe()
    sender.send(StopWorker(), [write])  # type: ignore[arg-type]  # the point of the test
    os.close(write)
    with pytest.raises(msgspec.ValidationError):
        receiver.receive_with_fds()
    assert os.read(read, 1) == b"", "the descriptor that came with it is still open"
    os.close(read)


def test_a_message_above_the_limit_never_arrives_in_part(ends: Ends) -> None:
    """Too large a message is refused where it is sent."""
    sender, _ = ends
    with pytest.raises(OSError, match="too long"):
        sender.send(msgspec.Raw(b"\x00" * 4 * MESSAGE_LIMIT))  # type: ignore[arg-type]  # bytes


def test_without_a_message_a_nonblocking_socket_says_so(ends: Ends) -> None:
    """It raises BlockingIOError and does not wait."""
    _, receiver = ends
    receiver.set_blocking(blocking=False)
    with pytest.raises(BlockingIOError):
        receiver.receive()


def test_an_adopted_descriptor_is_the_same_socket() -> None:
    """A socket that came as a number speaks with the same peer."""
    ours, theirs = socket_pair()
    adopted = adopt(theirs.detach())
    ours.send(b"hello")
    assert adopted.recv(10) == b"hello"
    assert adopted.type == socket.SOCK_SEQPACKET
    ours.close()
    adopted.close()
