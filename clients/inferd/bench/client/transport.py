"""What sends requests and brings their answers, whatever drives gRPC underneath."""

from __future__ import annotations

from typing import NamedTuple, Protocol

OK = 0
CANCELLED = 1
UNKNOWN = 2
DEADLINE_EXCEEDED = 4


class TransportClosed(Exception):
    """Nothing can be sent any more: `cancel` was called."""


class Answer(NamedTuple):
    """The end of one request: the tag it was sent with, gRPC's status code, and its message."""

    tag: float
    code: int
    text: str


class Transport(Protocol):
    """One connection, on which the same request is sent again and again.

    One thread at a time sends, one at a time takes; these may be two.
    """

    def reach(self, timeout: float) -> str | None:
        """Wait until the server answers anything; why it does not, or None."""

    def start(self, timeout: float, until: float) -> None:
        """Before a load: each request has `timeout` seconds, none is sent after `until`."""

    def send(self, tag: float) -> None:
        """Send the request. The tag, when it was meant to be sent, comes back with its answer.

        Raises `TransportClosed` after `cancel`.
        """

    def take(self) -> Answer:
        """Wait for one answer; to be called once for every `send`, which need not have returned."""

    def finish(self) -> None:
        """After a load, when everything was answered."""

    def cancel(self) -> None:
        """End what is unanswered, soon: to be taken by another thread. The transport's last load."""
